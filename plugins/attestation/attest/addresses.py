"""Which addresses a server may have: global ones, and those in networks that the operator names.

The blocks are IANA's special-purpose registries; what embeds an IPv4 address is judged by that address too.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

__all__ = ["Address", "Network", "is_permitted", "read_networks"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_SPECIAL_4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
        "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip

_GLOBAL_6 = IPv6Network("2000::/3")
"""All that was ever given out for hosts; outside are loopback, link-local, unique local, multicast and NAT64."""

_SPECIAL_6 = tuple(
    IPv6Network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20", "5f00::/16")
)
"""Within the above: protocol assignments with Teredo, documentation, 6to4, and what is anycast or not forwarded."""

_MAPPED = IPv6Network("::ffff:0:0/96")
_TRANSLATED = IPv6Network("64:ff9b::/96")


def is_permitted(address: Address, networks: Sequence[Network]) -> bool:
    """Whether to connect: it is global, or in an allowed network, itself or as the IPv4 address it stands for."""
    plain = _plain(address)
    if any(_is_in(one, network) for network in networks for one in (address, plain)):
        return True
    return address == plain and _is_global(address)


def _plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _MAPPED or address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour or address


def _is_global(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in block for block in _SPECIAL_4)
    return address in _GLOBAL_6 and not any(address in block for block in _SPECIAL_6)


def _is_in(address: Address, network: Network) -> bool:
    if isinstance(address, IPv4Address):
        return isinstance(network, IPv4Network) and address in network
    return isinstance(network, IPv6Network) and address in network


def read_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Read the operator's networks. Raises ValueError."""
    return tuple(ip_network(text) for text in texts)
