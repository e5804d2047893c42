"""Which network addresses may be called when somebody outside chose the name: those of the open internet, and no others.

What counts is the address that a name resolves to, so every spelling of it comes to the same: `127.1`, `0x7f000001`,
`2130706433`, `[::ffff:127.0.0.1]`, a name in somebody's DNS. Whoever is called is called at the very address that was
looked at; a name that resolves otherwise a moment later gains nothing.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from itertools import zip_longest
from typing import Final
from urllib.parse import urlsplit

from connectors.contract import Misconfigured

# Clouds answer here with the credentials of the machine. Azure's looks like any public address, the IPv6 ones like any private one.
_METADATA: Final = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe",
        "fd00:42::42", "fd00:a9fe:a9fe::1", "fd00:100::100:200",
    )
)  # fmt: skip
# AWS keeps these for itself: beside the metadata there is, for one, the agent of EKS that gives a pod its credentials (fd00:ec2::23).
_AWS: Final = IPv6Network("fd00:ec2::/32")
# IPv6 addresses in which an IPv4 address is written (RFC 4291 §2.5.5, RFC 6052, RFC 3056), and how many bits stand to its right.
_CARRIERS: Final = (
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("::/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("2002::/16"), 80),
)
# Not marked as private by every version of Python that we run on.
_CLOSED: Final = (
    IPv4Network("100.64.0.0/10"),
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv4Network("198.18.0.0/15"),
    IPv6Network("64:ff9b:1::/48"),
    IPv6Network("2001::/23"),
    IPv6Network("fec0::/10"),
)


def addresses_of(name: str, port: int | None, *, allow_private: bool) -> list[str]:
    """The addresses of a name, best first, IPv4 and IPv6 in turn. Raises Misconfigured where any may not be called, and `socket.gaierror`.

    With `allow_private` those of one's own machine and network may be, too; never those where clouds keep their secrets.
    """
    found = [str(place[4][0]) for place in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)]
    if not all(is_allowed(one, allow_private=allow_private) for one in found):
        # A good address beside a bad one is somebody trying; which one it is would tell them about our network.
        raise Misconfigured(f"{name!r} leads to an address that is not called from here: it is not on the open internet")
    return _in_turn(list(dict.fromkeys(found)))


def _in_turn(found: list[str]) -> list[str]:
    """RFC 8305 §4: of a family that leads nowhere from here, a dozen addresses must not stand before the first of the other."""
    kinds = [[one for one in found if (":" in one) is wide] for wide in (True, False)]
    first, second = sorted(kinds, key=lambda kind: found[0] not in kind)
    return [one for pair in zip_longest(first, second) for one in pair if one is not None]


def address_of(name: str, port: int | None, *, allow_private: bool) -> str:
    """The best of them."""
    return addresses_of(name, port, allow_private=allow_private)[0]


def is_allowed(text: str, *, allow_private: bool) -> bool:
    """Whether a numeric address may be called."""
    ip = ip_address(text.partition("%")[0])
    carried = _carried(ip)
    if carried is not None:
        return is_allowed(str(carried), allow_private=allow_private)
    if ip in _METADATA or ip in _AWS or ip.is_multicast or ip.is_link_local or ip.is_unspecified:
        return False
    if allow_private and (ip.is_private or ip.is_loopback or not ip.is_global):
        return True
    return ip.is_global and not ip.is_reserved and not any(ip.version == net.version and ip in net for net in _CLOSED)


def _carried(ip: IPv4Address | IPv6Address) -> IPv4Address | None:
    if isinstance(ip, IPv4Address) or int(ip) <= 1:  # `::` and `::1` carry nothing; they are what they are
        return None
    for network, shift in _CARRIERS:
        if ip in network:
            return IPv4Address((int(ip) >> shift) & 0xFFFFFFFF)
    return None


_PORTS: Final = {"http": 80, "https": 443, "ldap": 389, "ldaps": 636}


def server_of(address: str) -> object:
    """What two addresses of one server (scheme, host and port) have in common: whoever may see a secret at one may at the other.

    An address that callers could read in two ways, or not at all, is alike to itself alone.
    """
    try:
        parts = urlsplit(address)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return address
    if "\\" in address or "@" in parts.netloc or not address.isprintable():
        return address
    return parts.scheme, (parts.hostname or "").rstrip("."), port
