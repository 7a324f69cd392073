"""What ``http.fetch`` is asked for, checked before anything is sent: URL and headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

import msgspec

from toolrt.errors import ArgFault, InvalidArgsError, ToolError

MAX_URL_CHARS: Final = 8192
_PORTS: Final = {"http": 80, "https": 443}
# White space and control characters, which urlsplit drops in part, and what other
# programs take for a slash.
_NEVER_IN_URL: Final = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ud800-\udfff]")
_HOST: Final = re.compile(r"[a-z0-9_.-]{1,253}|[0-9a-f:.]*:[0-9a-f:.]*")
_SAFE: Final = "!#$%&'()*+,/:;=?@[]~-._"
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,8192}")
#: Ours to send: they say where a message goes, how it is framed and how long a
#: connection lasts.
_OURS: Final = frozenset({
    "connection", "content-length", "expect", "host", "http2-settings", "keep-alive",
    "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
#: For the host they were meant for, and no other that it names.
_SECRET: Final = frozenset({"authorization", "cookie"})
_DEFAULT_HEADERS: Final = {
    "user-agent": "toolrt", "accept": "*/*", "accept-encoding": "identity",
}  # fmt: skip


class Target(msgspec.Struct, frozen=True):
    """The URL of one request, taken apart; ``host`` is ASCII and in lower case."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Host and, unless it goes without saying, port: the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL as it is asked for."""
        return f"{self.scheme}://{self.authority}{self.path}"

    def redirected(self, location: str) -> Target:
        """
        Return where *location*, from a response to this request, leads.

        Raises:
            ToolError: ``BAD_RESPONSE``: it is no URL that may be asked for.
        """
        try:
            return _target(urljoin(self.url, location.strip(" \t")))
        except ValueError as exc:
            raise ToolError("BAD_RESPONSE", f"redirected to a URL that {exc}") from exc


class Request(msgspec.Struct, frozen=True):
    """One request, with all headers but Host and Connection."""

    method: str
    target: Target
    headers: Mapping[str, str]

    def redirected(self, location: str) -> Request:
        """
        Return the request to *location*, without secrets if they are not for it.

        Raises:
            ToolError: ``BAD_RESPONSE``, as for `Target.redirected`.
        """
        target = self.target.redirected(location)
        headers = self.headers
        if _origin(target) != _origin(self.target):
            headers = {k: v for k, v in headers.items() if k not in _SECRET}
        return Request(self.method, target, headers)


def parse_request(method: str, url: str, headers: Mapping[str, str]) -> Request:
    """
    Return the request that the arguments of a call ask for.

    Raises:
        InvalidArgsError: The URL or a header may not be sent.
    """
    faults = []
    target = None
    try:
        target = _target(url)
    except ValueError as exc:
        faults.append(ArgFault("url", str(exc)))
    names = [name.lower() for name in headers]
    for name, value in headers.items():
        rule = _header_fault(name, value, is_twice=names.count(name.lower()) > 1)
        if rule:
            faults.append(ArgFault("headers", rule))
    if target is None or faults:
        raise InvalidArgsError(faults, tool_id="")
    given = {name.lower(): value for name, value in headers.items()}
    return Request(method, target, {**_DEFAULT_HEADERS, **given})


def _header_fault(name: str, value: str, *, is_twice: bool) -> str:
    """Return the rule that a header breaks, ``""`` for none: rules are recorded."""
    if not _HEADER_NAME.fullmatch(name):
        return "must have names of letters, digits and hyphens"
    if not _HEADER_VALUE.fullmatch(value):
        return "must have values of one line of Latin-1, at most 8192 characters"
    if name.lower() in _OURS:
        return f"must not hold {name.lower()}, which is not the caller's to set"
    return "must not hold a name twice" if is_twice else ""


def _origin(target: Target) -> tuple[str, str, int]:
    return (target.scheme, target.host, target.port)


def _target(url: str) -> Target:
    """
    Return *url* taken apart.

    Raises:
        ValueError: It breaks a rule, which is the message.
    """
    if _NEVER_IN_URL.search(url) or len(url) > MAX_URL_CHARS:
        raise ValueError("holds a blank, a control character or \\, or is long")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise ValueError("is malformed") from exc
    if parts.scheme not in _PORTS:
        raise ValueError("is neither http nor https")
    if "@" in parts.netloc:
        raise ValueError("holds a user name")
    if port == 0:
        raise ValueError("has the port 0")
    path = quote(parts.path or "/", safe=_SAFE.replace("?", "").replace("#", ""))
    if parts.query:
        path += "?" + quote(parts.query, safe=_SAFE.replace("#", ""))
    scheme = parts.scheme
    return Target(scheme, _host(parts.hostname or ""), port or _PORTS[scheme], path)


def _host(name: str) -> str:
    try:
        host = name if name.isascii() else name.encode("idna").decode("ascii")
    except UnicodeError as exc:
        raise ValueError("has no host name") from exc
    if not _HOST.fullmatch(host):
        raise ValueError("has no host name")
    return host
