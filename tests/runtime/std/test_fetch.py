from __future__ import annotations

import base64
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from toolrt.errors import InvalidArgsError, ToolError, ToolTimeoutError
from toolrt.std import StdSettings
from toolrt.std.fetch import MAX_REDIRECTS
from toolrt.std.fetch import fetch as fetch_itself

from ..bindings.calls import context
from .servers import Answer, response, serving
from .tools import call, code_of

OPEN = StdSettings(fetch_private=True)


def saying(*pieces: bytes) -> Answer:
    return lambda _head: pieces


def fetched(*pieces: bytes, **params: Any) -> Any:
    """Return what the tool makes of *pieces*."""
    with serving(saying(*pieces)) as server:
        return call("http.fetch", OPEN, url=server.url, **params)


def code_for(*pieces: bytes, **params: Any) -> str:
    with serving(saying(*pieces)) as server:
        return code_of("http.fetch", OPEN, url=server.url, **params)


class TestResponse:
    def test_status_headers_and_body_are_the_result(self) -> None:
        """Names of headers are in lower case, repeated ones are joined."""
        answer = response(b"hi", "X-A: 1", "x-a:  2", "Content-Type: text/plain")

        with serving(saying(answer)) as server:
            told = call("http.fetch", OPEN, url=server.url + "/p?q#part")

        assert told == {
            "status": 200,
            "url": f"{server.url}/p?q",
            "headers": {
                "x-a": "1, 2", "content-type": "text/plain", "content-length": "2",
            },
            "body": "hi",
        }  # fmt: skip

    @pytest.mark.parametrize("status", ["404 Not Found", "500 Oops", "304 Same"])
    def test_any_status_is_a_result(self, status: str) -> None:
        """What the server thinks of the request is for the caller to judge."""
        assert fetched(response(status=status))["status"] == int(status[:3])

    @pytest.mark.parametrize(
        ("content_type", "body", "text"),
        [
            ("text/html; charset=latin-1", b"\xe9", "é"),
            ("text/html; charset=UTF-16", "é".encode("utf-16"), "é"),
            ("text/html; charset=no-such", "é".encode(), "é"),
            ("text/html; charset=rot13", b"a", "a"),
            ("text/html; charset=punycode", b"a-b", "a-b"),
            ("application/json", "é".encode(), "é"),
            ("text/html; charset=utf-8", b"\xe9", None),
            ("image/png", b"\x89PNG", None),
        ],
    )
    def test_body_is_text_or_base64(
        self, content_type: str, body: bytes, text: str | None
    ) -> None:
        """The charset is believed, then UTF-8; whatever is neither is not guessed."""
        told = fetched(response(body, f"Content-Type: {content_type}"))

        if text is None:
            assert base64.b64decode(told["body_base64"]) == body
        assert told.get("body") == text

    def test_compressed_body_is_not_taken_for_text(self) -> None:
        """A server that compresses unasked gets its bytes passed on."""
        told = fetched(response(b"abc", "Content-Encoding: gzip"))

        assert base64.b64decode(told["body_base64"]) == b"abc"

    def test_chunks_are_put_together(self) -> None:
        """Chunks may come in any pieces."""
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

        assert (
            fetched(head, b"2\r\nab\r", b"\n1;x=y\r\nc\r\n0\r\n\r\n")["body"] == "abc"
        )

    def test_body_may_end_with_the_connection(self) -> None:
        """A body without length is all that comes."""
        assert fetched(b"HTTP/1.0 200 OK\r\n\r\nab", b"c")["body"] == "abc"

    def test_head_has_no_body(self) -> None:
        """HEAD gives the headers, among them a length that is not sent."""
        told = fetched(response(length=10**9), method="HEAD")

        assert (told["body"], told["headers"]["content-length"]) == ("", "1000000000")


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b""], id="nothing"),
        pytest.param([b"SSH-2.0-x\r\n"], id="another protocol"),
        pytest.param([b"HTTP/1.1 abc\r\n\r\n"], id="no status"),
        pytest.param([b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000], id="long header"),
        pytest.param([b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 200], id="many headers"),
        pytest.param([response(b"ab", length=3)], id="short body"),
        *(
            pytest.param(
                [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body],
                id=f"chunks {body!r}",
            )
            for body in (b"", b"zz\r\n", b"-5\r\nabcdef", b"5\r\nab", b"2\r\nab\r\n")
        ),
    ],
)
def test_answer_that_is_broken_is_a_bad_response(pieces: Iterable[bytes]) -> None:
    """What is no HTTP, or less than it promised, is never taken for a result."""
    assert code_for(*pieces) == "BAD_RESPONSE"


class TestSize:
    def test_limit_is_the_last_size_that_passes(self) -> None:
        """The limit is that of the call, or the lower one of the settings."""
        answer = response(b"12345")

        assert fetched(answer, max_bytes=5)["body"] == "12345"
        assert code_for(answer, max_bytes=4) == "TOO_LARGE"
        low = StdSettings(fetch_private=True, max_bytes=4)
        with serving(saying(answer)) as server:
            assert code_of("http.fetch", low, url=server.url) == "TOO_LARGE"

    @pytest.mark.parametrize(
        "head",
        [b"", b"Content-Length: 99999999999999\r\n", b"Transfer-Encoding: chunked\r\n"],
    )
    def test_endless_body_is_cut_off(self, head: bytes) -> None:
        """No more is read than the limit, whatever the server says of the size."""

        def endless(_head: str) -> Iterator[bytes]:
            yield b"HTTP/1.1 200 OK\r\n" + head + b"\r\n"
            while True:
                yield b"1000\r\n" + b"x" * 0x1000 + b"\r\n"

        with serving(endless) as server:
            code = code_of("http.fetch", OPEN, url=server.url, max_bytes=50_000)

        assert code == "TOO_LARGE"

    def test_chunk_that_claims_to_be_huge_is_not_allocated(self) -> None:
        """A size that a server makes up costs nothing."""
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

        assert code_for(head + b"7fffffffffffffff\r\nab") == "BAD_RESPONSE"


class TestRequest:
    def test_request_is_what_it_should_be(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One connection, one request, the caller's headers, and no proxy."""
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        with serving(saying(response())) as server:
            call("http.fetch", OPEN, url=server.url + "/é", headers={"X-A": "1"})

        (head,) = server.asked
        assert head.splitlines() == [
            "GET /%C3%A9 HTTP/1.1", f"host: {server.host}", "connection: close",
            "user-agent: toolrt", "accept: */*", "accept-encoding: identity", "x-a: 1",
            "",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        "params",
        [
            {"url": "ftp://127.0.0.1/"},
            {"url": "http://u:p@127.0.0.1/"},
            {"headers": {"host": "x"}},
            {"headers": {"x": "a\r\ny: b"}},
        ],
    )
    def test_nothing_is_sent_that_may_not_be(self, params: dict[str, Any]) -> None:
        """A fault of the arguments is found before the first byte."""
        with serving(saying(response())) as server:
            with pytest.raises(InvalidArgsError):
                call("http.fetch", OPEN, **{"url": server.url, **params})

            assert server.asked == []

    def test_closed_port_is_told(self) -> None:
        """Where nobody listens there is no connection."""
        with socket.socket() as deaf:  # bound, so that the port is not another's
            deaf.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"

            assert code_of("http.fetch", OPEN, url=url) == "CONNECT_FAILED"

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
    def test_private_address_is_not_connected_to(self, host: str) -> None:
        """Unless the operator allows it, this machine hears nothing."""
        with serving(saying(response())) as server:
            url = server.url.replace("127.0.0.1", host)

            assert code_of("http.fetch", url=url) == "PRIVATE_ADDRESS_BLOCKED"
            assert server.asked == []


def redirect(location: str, status: str = "302 Found") -> bytes:
    return response(b"moved", f"Location: {location}", status=status)


class _OpenOnce:
    """Settings under which only the first host may be private."""

    max_bytes = 1 << 20

    def __init__(self) -> None:
        self._answers = iter([True])

    @property
    def fetch_private(self) -> bool:
        return next(self._answers, False)


class TestRedirect:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_redirect_is_followed(self, status: int) -> None:
        """The URL of the result is the one that answered, and its bytes are UTF-8."""

        def answer(head: str) -> list[bytes]:
            if head.startswith("GET /new/%C3%A9 "):
                return [response(b"there")]
            return [redirect("/new/\xc3\xa9", f"{status} Moved")]

        with serving(answer) as server:
            told = call("http.fetch", OPEN, url=server.url)

        assert (told["body"], told["url"]) == ("there", server.url + "/new/%C3%A9")

    def test_redirect_to_nowhere_is_a_result(self) -> None:
        """Without a location there is nothing to follow."""
        assert fetched(response(b"x", status="302 Found"))["status"] == 302

    @pytest.mark.parametrize("hops", [MAX_REDIRECTS, MAX_REDIRECTS + 1])
    def test_redirects_are_counted(self, hops: int) -> None:
        """As many as the limit are followed, and not one more."""

        def answer(head: str) -> list[bytes]:
            at = int(head.split()[1][1:])
            return [redirect(f"/{at - 1}") if at else response(b"there")]

        with serving(answer) as server:
            if hops <= MAX_REDIRECTS:
                assert call("http.fetch", OPEN, url=f"{server.url}/{hops}")["body"]
            else:
                code = code_of("http.fetch", OPEN, url=f"{server.url}/{hops}")
                assert code == "TOO_MANY_REDIRECTS"
        assert len(server.asked) == MAX_REDIRECTS + 1

    @pytest.mark.parametrize(
        "location", ["file:///etc/passwd", "http://u@127.0.0.1/", "http://[::1"]
    )
    def test_redirect_that_may_not_be_followed_is_refused(self, location: str) -> None:
        """A location is held to the rules for a URL."""
        assert code_for(redirect(location)) == "BAD_RESPONSE"

    def test_redirect_to_a_private_address_is_blocked(self) -> None:
        """Each hop is resolved and checked by itself."""
        with (
            serving(saying(response(b"secret"))) as inner,
            serving(saying(redirect(inner.url))) as outer,
            pytest.raises(ToolError, match="PRIVATE_ADDRESS_BLOCKED"),
        ):
            fetch_itself(cast("StdSettings", _OpenOnce()), context(), outer.url)

        assert (len(outer.asked), inner.asked) == (1, [])

    def test_secrets_do_not_go_to_another_server(self) -> None:
        """Credentials are for the one they were given for, other headers go along."""
        headers = {"Authorization": "Bearer s", "Cookie": "s=1", "X-A": "1"}
        with (
            serving(saying(response())) as other,
            serving(saying(redirect(other.url))) as first,
        ):
            call("http.fetch", OPEN, url=first.url, headers=headers)

        assert "Bearer s" in first.asked[0]
        assert "Bearer s" not in other.asked[0]
        assert "s=1" not in other.asked[0]
        assert "x-a: 1" in other.asked[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nX: ", id="header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", id="body"),
        pytest.param(b"", id="silence"),
    ],
)
def test_server_that_drips_is_given_up_at_the_deadline(head: bytes) -> None:
    """A byte now and then does not prolong the call."""
    done = threading.Event()

    def drip(_head: str) -> Iterator[bytes]:
        yield head
        while not done.wait(0.02):
            yield b"x" if head else b""

    began = time.monotonic()
    with serving(drip) as server:
        try:
            with pytest.raises(ToolTimeoutError, match="pack:verb"):
                call("http.fetch", OPEN, context(timeout_s=0.3), url=server.url)
        finally:
            done.set()

    # The drops alone would take 200 s and more.
    assert 0.3 <= time.monotonic() - began < 150


@pytest.fixture
def tls(tmp_path: Path) -> Path:
    """Make a key and a certificate of this machine's address that nobody trusts."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    made = tmp_path / "made.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=test",
         "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(made), "-out", str(tmp_path / "cert.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    made.write_text(made.read_text() + (tmp_path / "cert.pem").read_text())
    return made


class TestTls:
    @pytest.fixture
    def secure(self, tls: Path) -> ssl.SSLContext:
        """Return the server's side."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)
        return context

    def test_trusted_server_is_asked(
        self, tls: Path, secure: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whom the system trusts, for the address it is reached at, is believed."""
        monkeypatch.setenv("SSL_CERT_FILE", str(tls))
        with serving(saying(response(b"safe")), secure) as server:
            told = call("http.fetch", OPEN, url=f"https://{server.host}/")

        assert (told["body"], told["url"]) == ("safe", f"https://{server.host}/")

    def test_certificate_of_another_host_is_refused(
        self, tls: Path, secure: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The certificate is checked against the name in the URL."""
        monkeypatch.setenv("SSL_CERT_FILE", str(tls))
        with serving(saying(response()), secure) as server:
            url = f"https://{server.host}/".replace("127.0.0.1", "localhost")

            assert code_of("http.fetch", OPEN, url=url) == "TLS_FAILED"
            assert server.asked == []

    def test_certificate_that_nobody_trusts_is_refused(
        self, secure: ssl.SSLContext
    ) -> None:
        """Without trust nothing is sent."""
        with serving(saying(response()), secure) as server:
            url = f"https://{server.host}/"

            assert code_of("http.fetch", OPEN, url=url) == "TLS_FAILED"
            assert server.asked == []

    def test_server_without_tls_is_refused(self) -> None:
        """What does not speak TLS is no https server."""

        def refuse(listening: socket.socket) -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        with socket.create_server(("127.0.0.1", 0)) as listening:
            url = f"https://127.0.0.1:{listening.getsockname()[1]}/"
            answering = threading.Thread(target=refuse, args=(listening,))
            answering.start()
            assert code_of("http.fetch", OPEN, url=url) == "TLS_FAILED"
            answering.join()


def test_no_descriptor_is_left_open() -> None:
    """However a call ends, its connection is closed."""
    before = set(Path("/dev/fd").iterdir())
    for answer in (b"nonsense", redirect("file:///"), response(b"x" * 99)):
        code_for(answer, max_bytes=9)
    fetched(response(b"x"))

    assert set(Path("/dev/fd").iterdir()) == before
