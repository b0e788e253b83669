"""What a certificate path is held to: a profile, and what the operator adds to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum, auto
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from attest.keys import ANY_STRENGTH, WEBPKI_STRENGTH, Strength
from attest.limits import MAX_DEPTH

__all__ = ["ANY_POLICY", "PROFILES", "Demand", "Peer", "PolicyInputs", "Purpose", "Revocation", "Rules"]

ANY_POLICY = "2.5.29.32.0"

Peer: TypeAlias = str | IPv4Address | IPv6Address
"""Whom we asked for: a DNS name or an address."""


class Demand(IntEnum):
    """What some profiles demand of certificates beyond RFC 5280 section 6, which always holds."""

    VERSION_3 = auto()
    SERIAL = auto()
    KEY_IDENTIFIERS = auto()
    PLAIN_KEY_IDENTIFIERS = auto()
    CRITICALITY = auto()
    NAMES_NOT_EMPTY = auto()
    CONSTRAINTS_ON_AUTHORITIES_ONLY = auto()
    CERTSIGN_ON_AUTHORITIES_ONLY = auto()
    WELL_FORMED_NAMES = auto()
    ANCHOR = auto()
    """The anchor's own certificate is held to the same; otherwise it lends its name, key, dates and constraints."""
    SAN = auto()
    COMMON_NAME_IN_SAN = auto()
    CRITICAL_CONSTRAINTS = auto()
    EKU = auto()
    NO_ANY_EKU = auto()
    EKU_NOT_CRITICAL = auto()
    NO_ROOT_EKU = auto()
    LEAF_NOT_AUTHORITY = auto()
    LEAF_SIGNS = auto()
    NO_PUBLIC_SUFFIX = auto()


class Purpose(Enum):
    """What the certificate is used for: the extended key usage it needs."""

    SERVER = ExtendedKeyUsageOID.SERVER_AUTH
    CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
    ANY = None

    @property
    def oid(self) -> ObjectIdentifier | None:
        """The object identifier, or None where any purpose is taken."""
        found: ObjectIdentifier | None = self._value_  # `value` is a property that is looked for in two ways
        return found


class Revocation(Enum):
    """What becomes of a certificate whose revocation status cannot be had."""

    OFF = "off"
    SOFT = "soft"
    HARD = "hard"


@dataclass(frozen=True, slots=True)
class PolicyInputs:
    """The inputs of RFC 5280 section 6.1.1 (c) and (e) to (g)."""

    initial: frozenset[str] = frozenset({ANY_POLICY})
    explicit: bool = False
    inhibit_mapping: bool = False
    inhibit_any: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """All that a path is held to. Names in `allowed_names` may begin with `*.`, for one label."""

    demands: frozenset[Demand] = frozenset()
    strength: Strength = field(default_factory=Strength)
    purpose: Purpose = Purpose.SERVER
    peers: tuple[Peer, ...] = ()
    allowed_names: tuple[str, ...] = ()
    pins: frozenset[str] = frozenset()
    """SHA-256 digests, in hex, of the public keys that the server may have; empty means any."""
    policies: PolicyInputs = field(default_factory=PolicyInputs)
    max_depth: int = MAX_DEPTH
    revocation: Revocation = Revocation.OFF
    crl_numbers: bool = True
    """Whether a revocation list must have a number (RFC 5280 section 5.2.3)."""


_RFC5280 = frozenset(
    {
        Demand.VERSION_3,
        Demand.SERIAL,
        Demand.KEY_IDENTIFIERS,
        Demand.CRITICALITY,
        Demand.CRITICAL_CONSTRAINTS,
        Demand.NAMES_NOT_EMPTY,
        Demand.CONSTRAINTS_ON_AUTHORITIES_ONLY,
        Demand.CERTSIGN_ON_AUTHORITIES_ONLY,
        Demand.WELL_FORMED_NAMES,
        Demand.ANCHOR,
    }
)
_WEBPKI = (_RFC5280 - {Demand.CRITICAL_CONSTRAINTS}) | {
    Demand.PLAIN_KEY_IDENTIFIERS,
    Demand.SAN,
    Demand.EKU,
    Demand.NO_ANY_EKU,
    Demand.EKU_NOT_CRITICAL,
    Demand.NO_ROOT_EKU,
    Demand.LEAF_NOT_AUTHORITY,
    Demand.LEAF_SIGNS,
    Demand.NO_PUBLIC_SUFFIX,
}

PROFILES = {
    "path": Rules(strength=ANY_STRENGTH, purpose=Purpose.ANY, crl_numbers=False),
    "rfc5280": Rules(_RFC5280),
    "webpki": Rules(_WEBPKI, WEBPKI_STRENGTH),
    "vendor-roots": Rules(
        (_WEBPKI - {Demand.ANCHOR, Demand.NO_PUBLIC_SUFFIX}) | {Demand.COMMON_NAME_IN_SAN}, WEBPKI_STRENGTH
    ),
    "private": Rules((_RFC5280 - {Demand.ANCHOR}) | {Demand.SAN, Demand.LEAF_NOT_AUTHORITY, Demand.LEAF_SIGNS}),
}
"""`path` is RFC 5280 section 6 and no more; `rfc5280` adds what the document demands of every certificate; `webpki` the
CA/Browser Forum's baseline requirements as clients apply them. `vendor-roots` is for certificates of public
authorities: roots are taken as they are shipped, common names must repeat an alternative name, and an owner of a
suffix, such as a cloud, may have a wildcard below it. `private` is for an operator's own authority."""
