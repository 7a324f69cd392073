"""
Where ``http.fetch`` connects to: a host name becomes addresses once, each is checked.

The connection goes to an address that was checked and to no other: nothing that a name
server says a moment later is listened to.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from toolrt.context import CallContext
from toolrt.errors import ToolError, ToolTimeoutError
from toolrt.std.deadline import require_time

_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address

#: What carries an IPv4 address in its last four bytes: it is where packets end up.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
#: All that is given out of IPv6 for the public.
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
#: Not for the public, whatever a given version of ipaddress says.
_SPECIAL: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "3fff::/20",
    )
)  # fmt: skip


class Address(msgspec.Struct, frozen=True):
    """One address of a host, as the system's connect takes it."""

    family: int
    at: tuple[Any, ...]


def is_public(ip: _Ip) -> bool:
    """Return whether *ip*, and what it stands for, is an address of the open internet."""
    embedded = _embedded(ip)
    if embedded is not None:
        return is_public(embedded)
    if ip.version == 6 and ip not in _UNICAST:  # noqa: PLR2004 - as in IPv6
        return False
    if any(ip.version == net.version and ip in net for net in _SPECIAL):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def _embedded(ip: _Ip) -> ipaddress.IPv4Address | None:
    if isinstance(ip, ipaddress.IPv4Address):
        return None
    if ip in _NAT64:
        return ipaddress.IPv4Address(ip.packed[-4:])
    return ip.ipv4_mapped or ip.sixtofour


def resolve(
    host: str, port: int, ctx: CallContext, *, with_private: bool
) -> list[Address]:
    """
    Return the addresses of *host*, refusing all if one of them is not public.

    Raises:
        ToolError: ``DNS_FAILED`` or, unless *with_private*, ``PRIVATE_ADDRESS_BLOCKED``.

        ToolTimeoutError: The call's time was used up.
    """
    found = _looked_up(host, port, ctx)
    for address in found:
        ip = ipaddress.ip_address(str(address.at[0]).partition("%")[0])
        if not with_private and not is_public(ip):
            problem = f"{host} has an address that is not public"
            raise ToolError("PRIVATE_ADDRESS_BLOCKED", problem)
    return found


def _looked_up(host: str, port: int, ctx: CallContext) -> list[Address]:
    """Return what the system knows of *host*, asked in a thread: it has no deadline."""
    found: list[Address] = []
    failures: list[OSError | UnicodeError] = []

    def ask() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            failures.append(exc)
        else:
            found.extend(Address(info[0], info[4]) for info in infos)

    left_s = require_time(ctx)
    asking = threading.Thread(target=ask, name="toolrt-resolve", daemon=True)
    asking.start()
    asking.join(left_s)
    if asking.is_alive():
        raise ToolTimeoutError(ctx.timeout_s, tool_id=ctx.tool_id)
    if not found:
        cause = failures[0] if failures else None
        raise ToolError("DNS_FAILED", f"{host} cannot be resolved") from cause
    return found


def connect(addresses: Sequence[Address], ctx: CallContext) -> socket.socket:
    """
    Return a connection to the first of *addresses* that takes one.

    Raises:
        ToolError: ``CONNECT_FAILED``.

        ToolTimeoutError: The call's time was used up.
    """
    failure: OSError | None = None
    for tried, address in enumerate(addresses):
        # One that does not answer leaves time for those after it.
        share_s = require_time(ctx) / (len(addresses) - tried)
        try:
            return _connected(address, share_s)
        except OSError as exc:
            failure = exc
    require_time(ctx)
    reason = (failure and failure.strerror) or "no answer"
    raise ToolError("CONNECT_FAILED", reason) from failure


def _connected(address: Address, timeout_s: float) -> socket.socket:
    connection = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect(address.at)
    except BaseException:  # also when the call is interrupted
        connection.close()
        raise
    return connection
