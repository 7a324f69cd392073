"""
``http.fetch``: one resource of the web, as text.

What stands between a caller and the network of this machine is `address` for where a
request may go and `request` for what may be sent; every redirect passes both anew.
Proxies and credentials from the environment are not looked at.
"""

from __future__ import annotations

import base64
import codecs
import http.client
import io
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

from toolrt.context import CallContext
from toolrt.errors import ToolError
from toolrt.std import address
from toolrt.std.deadline import require_time
from toolrt.std.request import Request, parse_request
from toolrt.std.settings import StdSettings

Method = Literal["GET", "HEAD"]

MAX_REDIRECTS: Final = 5
MAX_BYTES: Final = 16 * 1024 * 1024
_CHUNK_BYTES: Final = 1 << 16
_REDIRECTS: Final = (301, 302, 303, 307, 308)
#: Names as codecs.lookup has them. Other codecs are no charsets of the web, and some
#: take quadratic time.
_CHARSET: Final = re.compile(
    r"utf-(8|16|32)(-[lb]e)?|utf-8-sig|ascii|iso8859-\d+|cp\d+|koi8-[rtu]|mac-\w+"
    r"|gb\w+|big5\w*|euc_\w+|shift_jis\w*|iso2022_\w+|tis-620|hz|johab"
)


def fetch(  # noqa: PLR0917 - bound by name, from the tool's arguments
    settings: StdSettings,
    ctx: CallContext,
    url: str,
    method: Method = "GET",
    headers: dict[str, str] | None = None,
    max_bytes: int = 1024 * 1024,
) -> dict[str, Any]:
    """
    Return status, final URL, headers and body of what is at *url*.

    Any status is a result. A body that is no text in the charset it claims, or UTF-8, is
    given as ``body_base64``.

    Raises:
        ToolError: ``PRIVATE_ADDRESS_BLOCKED``, ``DNS_FAILED``, ``TLS_FAILED``,
            ``CONNECT_FAILED``, ``TOO_MANY_REDIRECTS``, ``TOO_LARGE`` or
            ``BAD_RESPONSE``.

        ToolTimeoutError: The call's time was used up.

        InvalidArgsError: The URL or a header may not be sent.
    """
    request = parse_request(method, url, headers or {})
    most = min(max_bytes, settings.max_bytes, MAX_BYTES)
    for _ in range(MAX_REDIRECTS + 1):
        with _response(request, settings, ctx) as response:
            location = _location(response)
            if response.status not in _REDIRECTS or location is None:
                return _result(request, response, _body(response, most))
        request = request.redirected(location)
    raise ToolError("TOO_MANY_REDIRECTS", f"more than {MAX_REDIRECTS} redirects")


class _Stream(io.RawIOBase):
    """A connection as http.client wants it, that waits no longer than the call may."""

    def __init__(self, connection: socket.socket, ctx: CallContext) -> None:
        self._connection = connection
        self._ctx = ctx

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(require_time(self._ctx))
        return self._connection.recv_into(buffer)

    def sendall(self, data: bytes) -> None:
        self._connection.settimeout(require_time(self._ctx))
        self._connection.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self, _CHUNK_BYTES)

    def close(self) -> None:
        """Leave it open: http.client closes before it reads, who connected at the end."""


@contextmanager
def _response(
    request: Request, settings: StdSettings, ctx: CallContext
) -> Iterator[http.client.HTTPResponse]:
    """Send *request* and keep its response open, its body not yet read."""
    target = request.target
    found = address.resolve(
        target.host, target.port, ctx, with_private=settings.fetch_private
    )
    connection = address.connect(found, ctx)
    try:
        if target.scheme == "https":
            connection = _secured(connection, target.host, ctx)
        client = http.client.HTTPConnection(target.host, target.port)
        client.sock = _Stream(connection, ctx)
        with _answered(client, request) as response:
            yield response
    except TimeoutError as exc:
        require_time(ctx)
        raise ToolError("CONNECT_FAILED", "the connection timed out") from exc
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise ToolError("BAD_RESPONSE", "the answer is broken off or no HTTP") from exc
    finally:
        connection.close()


def _secured(connection: socket.socket, host: str, ctx: CallContext) -> socket.socket:
    context = ssl.create_default_context()
    connection.settimeout(require_time(ctx))
    try:
        return context.wrap_socket(connection, server_hostname=host)
    except TimeoutError:
        raise
    except ssl.SSLCertVerificationError as exc:
        raise ToolError("TLS_FAILED", exc.verify_message) from exc
    except (OSError, ValueError) as exc:
        raise ToolError("TLS_FAILED", "no secure connection") from exc


def _answered(
    client: http.client.HTTPConnection, request: Request
) -> http.client.HTTPResponse:
    client.putrequest(
        request.method, request.target.path, skip_host=True, skip_accept_encoding=True
    )
    client.putheader("host", request.target.authority)
    client.putheader("connection", "close")
    for name, value in request.headers.items():
        client.putheader(name, value)
    client.endheaders()
    return client.getresponse()


def _location(response: http.client.HTTPResponse) -> str | None:
    given = response.headers.get("location")
    if given is None or given.isascii():
        return given
    try:  # http.client reads headers as Latin-1
        return given.encode("latin-1").decode()
    except UnicodeError:
        return given


def _body(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    expected = response.length  # None: it ends with the connection, or is chunked
    if expected is not None and expected > max_bytes:
        raise _too_large(max_bytes)
    data = bytearray()
    # One chunk at a time: a length that the server made up is never allocated.
    while chunk := response.read1(_CHUNK_BYTES):
        data += chunk
        if len(data) > max_bytes:
            raise _too_large(max_bytes)
    if expected is not None and len(data) < expected:
        raise http.client.IncompleteRead(b"", expected - len(data))
    return bytes(data)


def _too_large(max_bytes: int) -> ToolError:
    return ToolError("TOO_LARGE", f"the body has more than {max_bytes} bytes")


def _result(
    request: Request, response: http.client.HTTPResponse, body: bytes
) -> dict[str, Any]:
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        key, shown = name.lower(), " ".join(value.split())
        headers[key] = f"{headers[key]}, {shown}" if key in headers else shown
    result = {"status": response.status, "url": request.target.url, "headers": headers}
    coding = headers.get("content-encoding", "identity").lower()
    text = _text(body, response) if coding in ("", "identity") else None
    if text is None:
        return {**result, "body_base64": base64.b64encode(body).decode()}
    return {**result, "body": text}


def _text(body: bytes, response: http.client.HTTPResponse) -> str | None:
    """Return *body* in the charset it claims or else in UTF-8, None if it is in neither."""
    for charset in (response.headers.get_content_charset(), "utf-8"):
        try:
            codec = codecs.lookup(charset or "utf-8").name
            if _CHARSET.fullmatch(codec):
                return body.decode(codec)
        except (LookupError, ValueError):
            continue
    return None
