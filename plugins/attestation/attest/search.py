"""Ways from a certificate to a trust anchor, through certificates that somebody else handed over."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from attest.certificates import Certificate, parse
from attest.limits import MAX_ANCHOR_TRIES, MAX_PATHS
from attest.names import Name
from attest.path import Signatures
from attest.verdict import Findings

__all__ = ["Anchors", "Search"]

_MAX_STEPS = 2000
"""Steps of the search for ways; each costs a few microseconds."""


@dataclass(frozen=True, slots=True)
class Anchors:
    """The certificates that are trusted, by subject."""

    certificates: tuple[Certificate, ...]
    by_subject: dict[Name, tuple[Certificate, ...]]
    digest: str
    """SHA-256 over the digests of all, sorted: which set of anchors it was."""

    @classmethod
    def of(cls, ders: Sequence[bytes]) -> Anchors:
        """Read the operator's anchors. Raises Refused for one that cannot be read."""
        certificates = tuple(parse(der) for der in dict.fromkeys(ders))
        by_subject: dict[Name, tuple[Certificate, ...]] = {}
        for certificate in certificates:
            by_subject[certificate.subject] = (*by_subject.get(certificate.subject, ()), certificate)
        digest = hashlib.sha256("".join(sorted(one.digest for one in certificates)).encode())
        return cls(certificates, by_subject, digest.hexdigest())


@dataclass(slots=True)
class Search:
    """Depth first from the server's certificate upwards, anchors before what was presented."""

    presented: list[Certificate]
    anchors: Anchors
    exhausted: bool = False
    _steps: int = 0
    _ends: set[str] = field(default_factory=set)

    def ways(self, signatures: Signatures) -> Iterator[list[Certificate]]:
        """Yield ways to an anchor: by names, and where none leads there, by whose key fits."""
        count = 0
        for way in self._by_name([self.presented[0]]):
            count += 1
            yield way
            if count == MAX_PATHS:
                self.exhausted = True
                return
        if count == 0 and not self.exhausted:
            found = self._by_key(signatures)
            if found is not None:
                yield found

    def _by_name(self, way: list[Certificate]) -> Iterator[list[Certificate]]:
        self._steps += 1
        if self._steps > _MAX_STEPS:
            self.exhausted = True
            return
        last = way[-1]
        for anchor in _nearest(last, self.anchors.by_subject.get(last.issuer, ())):
            yield [*way, anchor]
        above = [one for one in self.presented[1:] if one.subject == last.issuer and one not in way]
        if not above:
            self._ends.add("circle" if any(one.subject == last.issuer for one in way) else "unknown")
        for certificate in _nearest(last, above):
            yield from self._by_name([*way, certificate])

    def _by_key(self, signatures: Signatures) -> list[Certificate] | None:
        """Follow whose key verifies, whatever the names say: the walk reports the wrong name then."""
        way = [self.presented[0]]
        while True:
            issuers = [*self.anchors.certificates[:MAX_ANCHOR_TRIES], *(o for o in self.presented[1:] if o not in way)]
            for issuer in issuers:
                key = issuer.key()
                if key is not None and signatures.verify(way[-1], key, issuer.spki):
                    way.append(issuer)
                    break
            else:
                return None
            if way[-1] in self.anchors.certificates:
                return way

    def lost(self, findings: Findings) -> None:
        """Say why there is no way."""
        if self.exhausted:
            findings.against("X-SEARCH-LIMIT", "chain", f"{MAX_PATHS} ways, {_MAX_STEPS} steps", "more")
        elif self._ends == {"circle"} and not self._is_root(self.presented):
            findings.against("X-NO-PATH", "chain", "a way to a trust anchor", "a circle")
        else:
            issuer = self.presented[-1].view.issuer.rfc4514_string()
            findings.against("X-ANCHOR-UNKNOWN", "chain", "a trust anchor", issuer)

    @staticmethod
    def _is_root(presented: Sequence[Certificate]) -> bool:
        return any(one.self_issued for one in presented)


def _nearest(certificate: Certificate, issuers: Sequence[Certificate]) -> list[Certificate]:
    """Order issuers so that the one whose key identifier is named comes first."""
    if len(issuers) < 2:
        return list(issuers)
    named = certificate.extensions.get(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
    wanted = named.value.key_identifier if named and isinstance(named.value, x509.AuthorityKeyIdentifier) else None

    def is_other(issuer: Certificate) -> bool:
        own = issuer.extensions.get(ExtensionOID.SUBJECT_KEY_IDENTIFIER)
        return not (own and isinstance(own.value, x509.SubjectKeyIdentifier) and own.value.digest == wanted)

    return sorted(issuers, key=is_other)
