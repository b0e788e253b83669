"""The operator's policy: which servers, what each has to show, and what is then made of it. Typed, and nothing ignored.

What a server has to show is decided here and nowhere else: no field of a registration can ask for less.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import Enum
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Annotated, TypeAlias

import msgspec
import rfc8785

from attest.evidence import KINDS
from attest.hostnames import has_wildcard, is_dns_name, wildcard_is_alone
from attest.rules import PROFILES, Demand, Revocation, Rules
from attest.spiffe import BadSpiffeId, SpiffeId, is_allowed, read_id
from attest.urls import BadUrl, Url, UrlPattern, read_pattern
from attest.yamltext import NotYaml, read_yaml

__all__ = [
    "NAME",
    "Asked",
    "BadPolicy",
    "Drift",
    "EvidenceAsked",
    "Policy",
    "Rule",
    "SvidIdentity",
    "TlsIdentity",
    "Via",
    "policy_of",
    "read_policy",
]

SPIFFE = "spiffe://"
"""How the `match` of a rule for identities begins."""

NAME = r"^[a-z][a-z0-9_]*$"
"""How rules and sets of anchors are called."""

Name: TypeAlias = Annotated[str, msgspec.Meta(pattern=NAME)]
Digest: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]


class BadPolicy(ValueError):
    """The policy cannot be used; the message says where and why."""


class Profile(Enum):
    """A profile of `attest/rules.py`."""

    PRIVATE = "private"
    RFC5280 = "rfc5280"
    WEBPKI = "webpki"
    VENDOR_ROOTS = "vendor-roots"


class Drift(Enum):
    """What is made of a server that shows less, or something else, than when it was last admitted."""

    DENY = "deny"
    APPROVE = "require-approval"
    ALLOW = "allow"


class ClientCertificate(Enum):
    """Whether we show a certificate of ours, and whether the server has to ask for it."""

    NONE = "none"
    OFFER = "offer"
    DEMAND = "demand"


class Via(Enum):
    """How evidence comes: pulled on a connection, or in the record for a nonce that was issued for it before."""

    CONNECTION = "connection"
    RECORD = "record"


class TlsVersion(Enum):
    """The oldest version of TLS that is taken."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """Every key is known."""


class TlsIdentity(_Strict, frozen=True, tag_field="kind", tag="tls"):
    """A certificate for the name in the URL."""

    anchors: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1)]
    """Named sets of the trust store."""
    profile: Profile = Profile.PRIVATE
    names: tuple[str, ...] = ()
    pins: tuple[Digest, ...] = ()
    revocation: Revocation = Revocation.HARD
    client_certificate: ClientCertificate = ClientCertificate.NONE
    tls: TlsVersion = TlsVersion.TLS_1_3

    def rules(self, url: Url) -> Rules:
        """Return what the path is held to for this server."""
        return replace(
            PROFILES[self.profile.value],
            peers=(url.host,),
            allowed_names=self.names,
            pins=frozenset(self.pins),
            revocation=self.revocation,
        )


class SvidIdentity(_Strict, frozen=True, tag_field="kind", tag="x509-svid"):
    """A SPIFFE identity, whatever the name in the URL."""

    allowed: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    pins: tuple[Digest, ...] = ()
    revocation: Revocation = Revocation.SOFT
    client_certificate: ClientCertificate = ClientCertificate.NONE
    tls: TlsVersion = TlsVersion.TLS_1_3

    def rules(self) -> Rules:
        """Return what the path is held to."""
        demands = frozenset({Demand.VERSION_3, Demand.SERIAL, Demand.NAMES_NOT_EMPTY})
        return replace(PROFILES["private"], demands=demands, pins=frozenset(self.pins), revocation=self.revocation)


class EvidenceAsked(_Strict, frozen=True):
    """Evidence that must be there, of each kind named, whom it may speak for, and how it comes."""

    require: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=8)]
    """Each kind is asked for by a challenge of its own: an attester answers a nonce once."""
    allowed: tuple[str, ...] = ()
    via: Via = Via.CONNECTION


class Rule(_Strict, frozen=True):
    """One rule: the servers it is for, and what they have to show."""

    name: Name
    match: str
    identity: TlsIdentity | SvidIdentity
    evidence: EvidenceAsked | None = None
    drift: Drift = Drift.DENY


class _Document(_Strict, frozen=True):
    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    servers: Annotated[tuple[Rule, ...], msgspec.Meta(min_length=1)]
    fetch: bool = True


Asked: TypeAlias = Url | SpiffeId
"""What a rule is looked up by: the server's URL, or its identity once it was verified."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules in their order: the first that is for a server is the one that counts."""

    rules: tuple[Rule, ...]
    digest: bytes
    _patterns: tuple[UrlPattern | str, ...]
    fetch: bool = True
    """Whether configured sources of lists and bundles are asked."""

    @property
    def has_identity_rules(self) -> bool:
        """Whether there are rules that only a verified identity can choose."""
        return any(isinstance(pattern, str) for pattern in self._patterns)

    def rule_for(self, url: Url, identity: SpiffeId | None = None) -> Rule | None:
        """Return the first rule for this URL; where there is none, the first for this verified identity."""
        for rule, pattern in self._each():
            if isinstance(pattern, UrlPattern) and pattern.covers(url):
                return rule
        for rule, pattern in self._each():
            if identity is not None and isinstance(pattern, str) and is_allowed(identity, (pattern,)):
                return rule
        return None

    def rules_for_identities(self) -> list[Rule]:
        """Return the rules that only an identity can choose."""
        return [rule for rule, pattern in self._each() if isinstance(pattern, str)]

    def _each(self) -> Iterator[tuple[Rule, UrlPattern | str]]:
        return zip(self.rules, self._patterns, strict=True)


def read_policy(data: bytes) -> Policy:
    """Read a policy file. Raises BadPolicy."""
    try:
        return policy_of(read_yaml(data))
    except NotYaml as error:
        raise BadPolicy(str(error)) from error


def policy_of(document: object) -> Policy:
    """Read a policy from what its file says. Raises BadPolicy."""
    try:
        found = msgspec.convert(document, _Document)
        digest = hashlib.sha256(rfc8785.dumps(document)).digest()  # type: ignore[arg-type]  # JSON, as was just seen
    except (msgspec.ValidationError, rfc8785.CanonicalizationError) as error:
        raise BadPolicy(str(error)) from error
    for number, rule in enumerate(found.servers):
        _hold_kinds(rule, f"$.servers[{number}].evidence.require")
    names = [rule.name for rule in found.servers]
    if len(set(names)) != len(names):
        raise BadPolicy("two rules of one name")
    _hold_one_handshake(found.servers)
    for rule in found.servers:
        _hold_names(rule)
    return Policy(found.servers, digest, tuple(_pattern(rule) for rule in found.servers), found.fetch)


def _hold_kinds(rule: Rule, place: str) -> None:
    """Whoever had to show what nobody here can verify could never be let in."""
    required = rule.evidence.require if rule.evidence is not None else ()
    for number, kind in enumerate(required):
        if kind not in KINDS:
            near = get_close_matches(kind, KINDS, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            known = ", ".join(sorted(KINDS))
            said = f"`{kind}` is no kind of evidence, the kinds are {known}{hint}"
            raise BadPolicy(f"rule {rule.name}: {said} - at `{place}[{number}]`")
    if len(set(required)) != len(required):
        raise BadPolicy(f"rule {rule.name}: evidence of one kind is required twice - at `{place}`")


def _hold_one_handshake(rules: tuple[Rule, ...]) -> None:
    """Which rule an identity chooses is known only after the handshake, so all of them must want the same one."""
    by_identity = [rule.identity for rule in rules if rule.match.startswith(SPIFFE)]
    if len({(one.client_certificate, one.tls) for one in by_identity}) > 1:
        raise BadPolicy("rules that match identities say different things of client-certificate or tls")


def _hold_names(rule: Rule) -> None:
    """Hold names and IDs to their form: one that is none is a slip of the pen, and a bare `*` would be everybody."""
    ids = rule.evidence.allowed if rule.evidence is not None else ()
    if isinstance(rule.identity, SvidIdentity):
        ids += rule.identity.allowed
    else:
        for text in rule.identity.names:
            if not _is_name(text):
                raise BadPolicy(f"rule {rule.name}: {text} is neither a DNS name nor an address")
    for text in ids:
        try:
            read_id(text.removesuffix("/*"))
        except BadSpiffeId as error:
            raise BadPolicy(f"rule {rule.name}: {text}: {error}") from error


def _is_name(text: str) -> bool:
    if is_dns_name(text):
        return not has_wildcard(text) or wildcard_is_alone(text)
    try:
        return str(IPv6Address(text) if ":" in text else IPv4Address(text)) == text
    except AddressValueError:
        return False


def _pattern(rule: Rule) -> UrlPattern | str:
    try:
        if rule.match.startswith(SPIFFE):
            if isinstance(rule.identity, TlsIdentity):
                raise BadPolicy(f"rule {rule.name}: an identity is matched that is not asked for")
            read_id(rule.match.removesuffix("/*"))
            return rule.match
        return read_pattern(rule.match)
    except (BadUrl, BadSpiffeId) as error:
        raise BadPolicy(f"rule {rule.name}: {error}") from error
