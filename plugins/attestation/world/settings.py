"""What the operator configured, ready for use: policy, anchors, bundles, collateral, and how to dial."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from attest.addresses import read_networks
from attest.bundles import Bundle, read_bundle
from attest.certificates import Refused
from attest.crls import UnreadableCrl, parse_crl
from attest.limits import MAX_CRLS
from attest.policy import Policy, TlsIdentity, policy_of, read_policy
from attest.revocation import Collateral
from attest.search import Anchors
from attest.spiffe import read_trust_domain
from attest.urls import Url, read_url

from world.connector import Client, Dialling, checked
from world.rego import Rego, read_rego
from world.trust import Kind, Snapshot

__all__ = ["BadSettings", "Responder", "Settings", "Source", "overlaid", "pem_blocks", "read_settings"]

_EVERY_SECONDS = 3600
"""How often a source is asked that says nothing about it."""

_BEGIN, _END, _MARK = "-----BEGIN ", "-----END ", "-----"


class BadSettings(ValueError):
    """The configuration cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a revocation list, or the bundle of the trust domain `name`, comes from, and whom to believe there."""

    name: str
    kind: Kind
    url: Url
    anchors: str
    every: timedelta


@dataclass(frozen=True, slots=True)
class Responder:
    """Who is asked about certificates (OCSP) under the anchors, or of the trust domain, `issuers`."""

    url: Url
    anchors: str
    every: timedelta
    issuers: str


@dataclass(frozen=True, slots=True)
class Settings:
    """`with`, read once. `handshake` is off where nothing is dialled: nothing can be admitted then."""

    policy: Policy
    anchors: Mapping[str, Anchors]
    bundles: Mapping[str, Bundle]
    collateral: Collateral
    dialling: Dialling
    handshake: bool
    sources: tuple[Source, ...] = ()
    responders: tuple[Responder, ...] = ()
    rego: Rego | None = None

    def anchors_of(self, identity: TlsIdentity) -> Anchors:
        """Return the anchors that a rule names, as one set."""
        return Anchors.of([one.der for name in identity.anchors for one in self.anchors[name].certificates])


def read_settings(config: Mapping[str, object], secrets: Mapping[str, str]) -> Settings:
    """Read the configuration. Raises ValueError: nothing is served with settings that say something else than meant."""
    policy = policy_of(config["policy"])
    anchors = {
        name: Anchors.of(pem_blocks(text)) for name, text in _texts(config.get("anchors", {}), "anchors").items()
    }
    bundles = {
        read_trust_domain(domain): read_bundle(domain, json.dumps(document).encode())
        for domain, document in _mapping(config.get("bundles", {}), "bundles").items()
    }
    _hold_names(policy, anchors)
    lists = tuple(der for text in _listed(config.get("crls", []), "crls") for der in pem_blocks(text))
    _hold_lists(lists)
    certificate = str(config.get("client_certificate", ""))
    if certificate and "client_key" not in secrets:
        raise BadSettings("there is a client_certificate, and its key, the secret client_key, was not handed over")
    client = checked(Client(certificate.encode(), secrets["client_key"].encode())) if certificate else None
    dialling = Dialling(
        ports=frozenset(int(str(port)) for port in _sequence(config.get("ports", [443]), "ports")),
        networks=read_networks(_listed(config.get("networks", []), "networks")),
        seconds=float(str(config.get("seconds", 8))),
        client=client,
    )
    found = [_source(name, said, anchors) for name, said in _mapping(config.get("sources", {}), "sources").items()]
    _hold_issuers(found, anchors, bundles)
    text = str(config.get("rego", ""))
    rego = read_rego(text) if text else None
    return Settings(
        policy=_with_rules(policy, rego),
        anchors=anchors,
        bundles=bundles,
        collateral=Collateral(lists),
        dialling=dialling,
        handshake=bool(config.get("handshake", True)),
        sources=tuple(one for one in found if isinstance(one, Source)),
        responders=tuple(one for one in found if isinstance(one, Responder)),
        rego=rego,
    )


def _with_rules(policy: Policy, rego: Rego | None) -> Policy:
    """Rules in Rego are part of the policy: its digest is of both."""
    if rego is None:
        return policy
    both = policy.digest + hashlib.sha256(rego.text.encode()).digest()
    return replace(policy, digest=hashlib.sha256(both).digest())


def _source(name: str, said: object, anchors: Mapping[str, Anchors]) -> Source | Responder:
    given = _texts(said, f"sources.{name}")
    if given["anchors"] not in anchors:
        raise BadSettings(f"the source {name} names the anchors {given['anchors']}, and no such set is configured")
    every = timedelta(seconds=float(given.get("every", _EVERY_SECONDS)))
    if given["kind"] == "ocsp":
        return Responder(read_url(given["url"]), given["anchors"], every, given.get("issuers", name))
    if given["kind"] == Kind.BUNDLE.value:
        read_trust_domain(name)
    return Source(name, Kind(given["kind"]), read_url(given["url"]), given["anchors"], every)


def _hold_issuers(
    found: Sequence[Source | Responder], anchors: Mapping[str, Anchors], bundles: Mapping[str, Bundle]
) -> None:
    """A responder for issuers that nobody knows would never be asked."""
    fetched = {one.name for one in found if isinstance(one, Source) and one.kind is Kind.BUNDLE}
    for one in found:
        if isinstance(one, Responder) and one.issuers not in anchors.keys() | bundles.keys() | fetched:
            raise BadSettings(f"{one.url} answers for {one.issuers}: neither a set of anchors nor a trust domain")


def overlaid(settings: Settings, snapshot: Snapshot) -> Settings:
    """Return the settings with what is in the trust store in the place of what is configured under the same name.

    What was removed from the store is gone, configured or not. Raises BadSettings for an item that cannot be used.
    """
    try:
        return _overlaid(settings, snapshot)
    except (ValueError, Refused) as error:
        raise BadSettings(f"in the trust store: {error}") from error


def _overlaid(settings: Settings, snapshot: Snapshot) -> Settings:
    anchors, bundles = dict(settings.anchors), dict(settings.bundles)
    for name, item in snapshot.of(Kind.ANCHORS).items():
        anchors[name] = Anchors.of(pem_blocks(item.data.decode()) if item.data is not None else [])
    removed = set()
    for domain, item in snapshot.of(Kind.BUNDLE).items():
        bundles[domain] = read_bundle(domain, b'{"keys": []}' if item.data is None else item.data)
        removed |= {domain} if item.data is None else set()
    for domain, least in snapshot.seen.get(Kind.BUNDLE, {}).items():
        found = bundles.get(domain)
        if found is not None and domain not in removed and found.sequence < least:
            bundles[domain] = replace(found, refused="S-BUNDLE-ROLLBACK")
    stored = [item.data.decode() for item in snapshot.of(Kind.CRL).values() if item.data is not None]
    lists = tuple(der for text in stored for der in pem_blocks(text))
    kept = snapshot.of(Kind.POLICY).get("policy")
    policy = settings.policy if kept is None else _with_rules(read_policy(kept.data or b""), settings.rego)
    _hold_names(policy, anchors)
    _hold_lists(settings.collateral.crls + lists)
    collateral = replace(
        settings.collateral, crls=settings.collateral.crls + lists, numbers=snapshot.seen.get(Kind.CRL, {})
    )
    return replace(settings, policy=policy, anchors=anchors, bundles=bundles, collateral=collateral)


def _hold_lists(lists: Sequence[bytes]) -> None:
    """All lists can be read, and are few enough: under `soft` one that is not looked at would go unnoticed for ever.

    They are taken apart here, once: children inherit it, and a long list takes longer than one of them is given.
    """
    if len(lists) > MAX_CRLS:
        raise BadSettings(f"{len(lists)} revocation lists, and at most {MAX_CRLS} are looked at")
    for place, der in enumerate(lists):
        try:
            parse_crl(der)
        except UnreadableCrl as error:
            raise BadSettings(f"crls: the list at place {place} cannot be read: {error}") from error


def _hold_names(policy: Policy, anchors: Mapping[str, Anchors]) -> None:
    for rule in policy.rules:
        names = rule.identity.anchors if isinstance(rule.identity, TlsIdentity) else ()
        for name in names:
            if name not in anchors:
                raise BadSettings(f"rule {rule.name} names the anchors {name}, and no such set is configured")


def pem_blocks(text: str) -> list[bytes]:
    """Take the DER out of PEM, whatever its labels. Raises BadSettings."""
    ders, lines = [], list[str]()
    inside = False
    for line in text.splitlines():
        if line.startswith((_BEGIN, _END)) and (line.startswith(_BEGIN) is inside or line.count(_MARK) != 2):
            # Such as two files put together without a line's end between them: what stands behind would be lost.
            raise BadSettings("PEM whose blocks do not begin and end on lines of their own")
        if line.startswith(_BEGIN):
            inside, lines = True, []
        elif line.startswith(_END):
            inside = False
            ders.append(_decoded("".join(lines)))
        elif inside:
            lines.append(line.strip())
    if inside or not ders:
        raise BadSettings("not PEM, or nothing in it")
    return ders


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise BadSettings(f"not base64: {error}") from error


def _mapping(value: object, name: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise BadSettings(f"{name} is no mapping")
    return value


def _texts(value: object, name: str) -> Mapping[str, str]:
    return {key: str(text) for key, text in _mapping(value, name).items()}


def _sequence(value: object, name: str) -> Sequence[object]:
    if not isinstance(value, list):
        raise BadSettings(f"{name} is no list")
    return value


def _listed(value: object, name: str) -> list[str]:
    return [str(one) for one in _sequence(value, name)]
