"""
Which addresses may be connected to, decided on the address itself and not on a name.

A name is resolved once and the connection goes to the address that was checked, so a name that changes its mind in
between (DNS rebinding) gains nothing. Link-local and metadata addresses are refused whatever the configuration says,
also when they hide inside an IPv6 address.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Sequence

from diagnose.errors import CaptureError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Sequence[str]]

NEVER: tuple[Network, ...] = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",  # "this host"; Linux connects it to loopback
            "169.254.0.0/16",  # link-local, with the metadata service of most clouds
            "100.100.100.200/32",  # metadata, Alibaba
            "192.0.0.192/32",  # metadata, Oracle
            "168.63.129.16/32",  # platform service, Azure
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved and broadcast
            "::/128",
            "fe80::/10",
            "fec0::/10",
            "ff00::/8",
            "fd00:ec2::254/128",  # metadata, AWS
            "fd20:ce::254/128",  # metadata, Google
        ),
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_IPV4_COMPATIBLE = ipaddress.ip_network("::/96")


class Unreachable(CaptureError):
    """No address, no connection, or it broke: the process may be gone. Retryable."""


def resolve(host: str, port: int) -> list[str]:
    """The addresses of *host*, in the order the system prefers. Raises OSError when it has none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def allowed_address(host: str, port: int, networks: Iterable[str], resolver: Resolver = resolve) -> str:
    """
    The first address of *host* that lies in one of *networks* (CIDR) and not in NEVER.

    Raises Unreachable when the name has no address, CaptureError (refused) when none of its addresses is allowed.
    """
    try:
        addresses = resolver(host, port)
    except (OSError, UnicodeError) as err:
        raise Unreachable(f"{host} cannot be resolved", retryable=True) from err
    allowed = [ipaddress.ip_network(network, strict=False) for network in networks]
    for address in addresses:
        if is_allowed(address, allowed):
            return address
    listed = ", ".join(addresses) or "nothing"
    raise CaptureError(f"{host} is {listed}: not in the networks of its entry in targets", status="refused")


def is_allowed(address: str, networks: Iterable[Network]) -> bool:
    """Whether *address* may be connected to. Something that is no address is not allowed."""
    try:
        plain = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(plain, ipaddress.IPv6Address) and plain.scope_id:
        return False
    hidden = embedded(plain)
    if any(each in never for each in hidden for never in NEVER):
        return False
    return any(hidden[-1] in network for network in networks)


def embedded(address: Address) -> list[Address]:
    """The address and, as the last entry, the IPv4 address inside it: `::ffff:10.0.0.1` → itself, 10.0.0.1."""
    if isinstance(address, ipaddress.IPv4Address) or int(address) <= 1:
        return [address]
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and (address in _NAT64 or address in _IPV4_COMPATIBLE):
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return [address, inner] if inner else [address]
