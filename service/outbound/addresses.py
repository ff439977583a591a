"""Which network addresses the service may talk to on behalf of a client.

It knows numbers only: nothing of names, sockets or requests. Invariant: an address that belongs to this machine, to
a private network or to no network at all is not public, in whatever notation or transition scheme it is wrapped.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from service.errors import ConfigError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# RFC 6052 and 8215: an IPv4 address in the last 32 bits, which a translator on the way unwraps.
_TRANSLATED = tuple(ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48"))
# RFC 4291: the old form of an IPv4 address in an IPv6 one.
_COMPATIBLE = ipaddress.ip_network("::/96")
# Deprecated and still routed inside some networks: site-local.
_SITE_LOCAL = ipaddress.ip_network("fec0::/10")


@dataclass(frozen=True, slots=True)
class AddressRule:
    """Public addresses, and those of `also`, which whoever runs the service has named."""

    also: tuple[Network, ...] = ()

    def allows(self, address: Address) -> bool:
        """Whether the service may connect there."""
        return is_public(address) or any(_is_in(address, network) for network in self.also)


def address_rule(networks: Iterable[str]) -> AddressRule:
    """From the settings. Raises ConfigError for what is no network."""
    try:
        return AddressRule(tuple(ipaddress.ip_network(text) for text in networks))
    except ValueError as error:
        raise ConfigError(f"outbound_networks: expected networks such as 10.1.0.0/16: {error}") from error


def is_public(address: Address) -> bool:
    """Whether the address is one of the public internet, and everything that is wrapped in it is so too."""
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return True
    return not _is_in(address, _SITE_LOCAL) and all(is_public(inner) for inner in _wrapped(address))


def _wrapped(address: ipaddress.IPv6Address) -> tuple[Address, ...]:
    inner: list[Address | None] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(_is_in(address, network) for network in (*_TRANSLATED, _COMPATIBLE)):
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return tuple(found for found in inner if found is not None)


def _is_in(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network
