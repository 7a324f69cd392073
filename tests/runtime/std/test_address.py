from __future__ import annotations

import ipaddress
import socket

import pytest

from toolrt.errors import ToolError
from toolrt.std.address import Address, connect, is_public, resolve

from ..bindings.calls import context


@pytest.mark.parametrize(
    "ip",
    [
        "8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8",
        "64:ff9b::808:808", "2002:808:808::1",
    ],
)  # fmt: skip
def test_address_of_the_internet_is_public(ip: str) -> None:
    """What everyone can reach may be reached."""
    assert is_public(ipaddress.ip_address(ip))


@pytest.mark.parametrize(
    "ip",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1",
        "192.168.0.1", "169.254.169.254", "100.64.0.1", "192.0.0.8", "192.0.2.1",
        "198.18.0.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
        "192.88.99.1", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2001::1", "2001:db8::1",
        "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "ff0e::1",
        "100::1", "3fff::1",
    ],
)  # fmt: skip
def test_address_that_is_not_for_everyone_is_not_public(ip: str) -> None:
    """This machine, its networks, groups, and IPv4 in each of its disguises."""
    assert not is_public(ipaddress.ip_address(ip))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "::1",
     "::ffff:7f00:1", "localhost", "169.254.169.254"],
)  # fmt: skip
def test_private_host_is_blocked_however_it_is_written(host: str) -> None:
    """What counts is the address that the system makes of a name."""
    with pytest.raises(ToolError, match="PRIVATE_ADDRESS_BLOCKED"):
        resolve(host, 80, context(), with_private=False)


def test_private_host_is_found_on_demand() -> None:
    """The setting of the operator opens what is private."""
    found = resolve("127.0.0.1", 81, context(), with_private=True)

    assert found == [Address(socket.AF_INET, ("127.0.0.1", 81))]


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".a"])
def test_name_without_address_fails(host: str) -> None:
    """A name that nobody can resolve is told as such."""
    with pytest.raises(ToolError, match="DNS_FAILED"):
        resolve(host, 80, context(), with_private=False)


def test_first_address_that_answers_is_taken() -> None:
    """An address where nobody listens does not hide the next one."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as closed:
            dead = closed.getsockname()[1]
        found = [Address(socket.AF_INET, ("127.0.0.1", p)) for p in (dead, port)]

        with connect(found, context()) as connection:
            assert connection.getpeername() == ("127.0.0.1", port)
        with pytest.raises(ToolError, match="CONNECT_FAILED"):
            connect(found[:1], context())
