from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolrt.errors import InvalidArgsError, ToolError
from toolrt.std.request import parse_request


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://a.example", "http://a.example/"),
        ("HTTP://A.Example:80/x", "http://a.example/x"),
        ("https://a.example:443/", "https://a.example/"),
        ("https://a.example:8443/", "https://a.example:8443/"),
        ("http://a.example/p?q=1#part", "http://a.example/p?q=1"),
        ("http://a.example?q", "http://a.example/?q"),
        ("http://a.example/é%20", "http://a.example/%C3%A9%20"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://[2001:DB8::1]:81/", "http://[2001:db8::1]:81/"),
    ],
)
def test_url_is_brought_into_one_form(url: str, asked: str) -> None:
    """What is sent is ASCII, in lower case where case means nothing."""
    assert parse_request("GET", url, {}).target.url == asked


@pytest.mark.parametrize(
    "url",
    [
        "", "a.example", "//a.example/", "ftp://a.example/", "file:///etc/passwd",
        "http:///x", "http://", "http://user@a.example/", "http://u:p@a.example/",
        "http://@a.example/", "http://a.example:0/", "http://a.example:99999/",
        "http://a.example:x/", "http://[::1", "http://[fe80::1%25eth0]/",
        "http://a.example\\@b.example/", "http://a b.example/", "http://a.example/\r\nx",
        "http://a.example/\0", "\thttp://a.example/", "http://a.exa\nmple/",
        "http://a%2eexample/", "http://a,b/", "http://a.example/\ud800",
        "http://a.example/" + "x" * 10_000,
    ],
)  # fmt: skip
def test_url_that_may_not_be_asked_for_is_a_fault(url: str) -> None:
    """Other schemes, user names and whatever two programs may read in two ways."""
    with pytest.raises(InvalidArgsError, match="url: "):
        parse_request("GET", url, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x", "a\r\nhost: b"), ("x", "a\nb"), ("x", "a\0"), ("x", "\u20ac"),
        ("x", "a" * 10_000), ("", "a"), ("x y", "a"), ("x:", "a"), ("x\r\ny", "a"),
        ("Host", "b"), ("connection", "x"), ("Transfer-Encoding", "chunked"),
        ("content-length", "5"), ("TE", "x"), ("upgrade", "h2c"), ("trailer", "x"),
        ("proxy-authorization", "x"), ("keep-alive", "x"), ("expect", "100-continue"),
    ],
)  # fmt: skip
def test_header_that_may_not_be_sent_is_a_fault(name: str, value: str) -> None:
    """What would frame, direct or split the message; the value is not repeated."""
    with pytest.raises(InvalidArgsError, match="headers: ") as caught:
        parse_request("GET", "http://a.example/", {name: value})

    assert [fault.value for fault in caught.value.faults] == [None]


def test_every_fault_is_told_at_once() -> None:
    """A URL and headers are checked in one go; one name in two cases is one name."""
    with pytest.raises(InvalidArgsError) as caught:
        parse_request("GET", "x:", {"a": "1", "A": "2", "host": "x"})

    assert [f.path for f in caught.value.faults] == ["url", *["headers"] * 3]


def test_header_of_the_caller_wins() -> None:
    """There is a default for a few, none that cannot be overridden."""
    request = parse_request("GET", "http://a.example/", {"Accept": "text/html"})

    assert request.headers["accept"] == "text/html"
    assert request.headers["user-agent"] == "toolrt"


class TestRedirect:
    @pytest.mark.parametrize(
        ("location", "url"),
        [
            ("/y", "https://a.example/y"),
            ("y?z", "https://a.example/dir/y?z"),
            ("../y#part", "https://a.example/y"),
            ("//b.example", "https://b.example/"),
            (" http://b.example/y ", "http://b.example/y"),
        ],
    )
    def test_location_is_relative_to_the_request(self, location: str, url: str) -> None:
        """A location may be a path, a host or a whole URL."""
        request = parse_request("HEAD", "https://a.example/dir/x", {})

        redirected = request.redirected(location)

        assert (redirected.method, redirected.target.url) == ("HEAD", url)

    @pytest.mark.parametrize(
        "location",
        ["file:///etc/passwd", "gopher://a.example/", "http://u@b.example/", "http://",
         "http://b.example\\@c/", "http://[::1", "/a\x01b"],
    )  # fmt: skip
    def test_location_is_checked_like_a_url(self, location: str) -> None:
        """No redirect leads where a call may not."""
        request = parse_request("GET", "https://a.example/", {})

        with pytest.raises(ToolError, match="BAD_RESPONSE"):
            request.redirected(location)

    @pytest.mark.parametrize(
        ("location", "is_kept"),
        [
            ("/y", True),
            ("https://a.example:443/y", True),
            ("https://b.example/", False),
            ("https://a.example:444/", False),
            ("http://a.example/", False),
        ],
    )
    def test_secrets_stay_with_their_host(self, location: str, is_kept: bool) -> None:
        """Another host, port or scheme gets neither credentials nor cookies."""
        secrets = {"Authorization": "s", "cookie": "s"}
        request = parse_request("GET", "https://a.example/", {**secrets, "x-a": "1"})

        names = request.redirected(location).headers

        assert ("authorization" in names, "cookie" in names) == (is_kept, is_kept)
        assert "x-a" in names


@given(st.text(), st.dictionaries(st.text(), st.text(), max_size=3))
def test_any_text_is_a_request_or_a_fault(tail: str, headers: dict[str, str]) -> None:
    """Nothing but a request that fits on one line each, or the faults, comes out."""
    try:
        request = parse_request("GET", f"http://a.example{tail}", headers)
    except InvalidArgsError:
        return
    sent = [request.target.path, request.target.authority, *request.headers.values()]
    assert not any(set("\r\n\0") & set(text) for text in sent)
    assert request.target.url.isascii()
