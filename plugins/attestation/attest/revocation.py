"""Whether the certificates of a path are revoked, by lists and answers that were handed over as bytes.

Lists come from configured sources and may come from nobody else; what cannot be used says why, and counts for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from itertools import chain
from types import MappingProxyType

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from attest.certificates import Certificate, Refused, parse
from attest.crls import ALL_REASONS, Crl, Point, UnreadableCrl, parse_crl, points_of
from attest.limits import MAX_CERTIFICATES, MAX_CRLS
from attest.ocsp import Answer, judge_answer
from attest.path import Signatures, walk
from attest.rules import Purpose, Revocation, Rules
from attest.search import Anchors, Search
from attest.verdict import Findings

__all__ = ["NO_COLLATERAL", "Collateral", "Statuses"]

_MAX_SIGNER_DEPTH = 2
"""How often the signer of a list may itself need a list by another signer."""

_BAD_NEWS = frozenset({"R-OCSP-UNKNOWN", "R-OCSP-STAPLE", "R-STAPLE-PARSE"})
"""What no other source outweighs and soft fail does not forgive."""


@dataclass(frozen=True, slots=True)
class Collateral:
    """What is known about revocation, in DER. `staple` came in the handshake and speaks of the server alone."""

    crls: tuple[bytes, ...] = ()
    answers: tuple[bytes, ...] = ()
    staple: bytes | None = None
    certificates: tuple[bytes, ...] = ()
    """Certificates of those who sign lists for others."""
    numbers: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """The highest number of a list seen so far, by its series: an older one is refused."""
    used: dict[str, int] = field(default_factory=dict, compare=False)
    """Filled by a verification: the numbers of the lists that were found good in it, to be remembered."""


NO_COLLATERAL = Collateral()


class _Status(Enum):
    GOOD = "good"
    REVOKED = "revoked"
    OPEN = "undetermined"


@dataclass(frozen=True, slots=True)
class _Question:
    """Whether `path[place]` is revoked. `depth` counts the signers of lists whose own status is asked on the way."""

    path: Sequence[Certificate]
    place: int
    rules: Rules
    at: datetime
    depth: int = 0

    @property
    def certificate(self) -> Certificate:
        return self.path[self.place]

    @property
    def above(self) -> Sequence[Certificate]:
        return self.path[self.place + 1 :]


class Statuses:
    """Judges revocation for one verification."""

    def __init__(self, collateral: Collateral, anchors: Anchors, signatures: Signatures) -> None:
        self._collateral = collateral
        self._anchors = anchors
        self._signatures = signatures
        self._crls: list[Crl] = []
        self._unreadable = len(collateral.crls) > MAX_CRLS
        for der in collateral.crls[:MAX_CRLS]:
            try:
                self._crls.append(parse_crl(der))
            except UnreadableCrl:
                self._unreadable = True
        # Of lists with one scope the newest counts: an older one neither hides a revocation nor keeps one up.
        self._crls.sort(key=lambda crl: (crl.number or 0, crl.this_update), reverse=True)
        self._lent = list(_readable(collateral.certificates[:MAX_CERTIFICATES]))
        self._assumed: set[bytes] = set()

    def judge(
        self, findings: Findings, name: str, path: Sequence[Certificate], place: int, rules: Rules, at: datetime
    ) -> None:
        """Note what is known about `path[place]`; under soft fail what is not known is a skipped check."""
        findings.run("revocation", name, self._judge, _Question(path, place, rules, at))

    def _judge(self, findings: Findings, name: str, asked: _Question) -> str | None:
        status, codes = self._status(asked)
        if status is _Status.OPEN and asked.rules.revocation is Revocation.SOFT and not codes & _BAD_NEWS:
            return f"soft fail: {', '.join(sorted(codes))}"
        _note(findings, name, status, codes, asked.certificate)
        return None

    def _status(self, asked: _Question) -> tuple[_Status, set[str]]:
        answered, codes = self._by_answers(asked)
        if answered is _Status.REVOKED:
            return answered, codes
        listed, why = self._by_lists(asked)
        if listed is _Status.REVOKED:
            return listed, why
        if codes & _BAD_NEWS:
            return _Status.OPEN, codes & _BAD_NEWS
        if _Status.GOOD in (answered, listed):
            return _Status.GOOD, set()
        codes |= why
        return _Status.OPEN, codes - {"R-CRL-MISSING"} or {"R-CRL-MISSING"}

    def _by_answers(self, asked: _Question) -> tuple[_Status, set[str]]:
        staple = self._collateral.staple
        is_leaf = asked.place == 0 and asked.depth == 0
        stapled = (staple,) if is_leaf and staple is not None else ()
        status, codes, is_stapled = _Status.OPEN, set[str](), False
        issuer = asked.above[0]
        answers = (*stapled, *self._collateral.answers)
        key = self._signatures.key_of(issuer) if answers else None
        for der in answers:
            said = judge_answer(der, asked.certificate, issuer, key, asked.rules, asked.at)
            match said:
                case Answer.REVOKED:
                    return _Status.REVOKED, {"R-REVOKED"}
                case Answer.GOOD:
                    status, is_stapled = _Status.GOOD, is_stapled or der is staple
                case Answer.UNKNOWN:
                    codes.add("R-OCSP-UNKNOWN")
                case "R-OCSP-CERTID" if der is not staple:
                    pass  # an answer about somebody else is no fault of this certificate's
                case "R-OCSP-PARSE" if der is staple:
                    codes.add("R-STAPLE-PARSE")  # the server's own bytes: no collateral that may come later
                case str():
                    codes.add(said)
        if is_leaf and _demands_staple(asked.certificate) and not is_stapled:
            codes.add("R-OCSP-STAPLE")
        return status, codes

    def _by_lists(self, asked: _Question) -> tuple[_Status, set[str]]:
        """RFC 5280 section 6.3.3."""
        certificate = asked.certificate
        covered: frozenset[x509.ReasonFlags] = frozenset()
        codes = {"R-CRL-PARSE"} if self._unreadable else set[str]()
        for point in points_of(certificate):
            for crl in self._crls:
                about = crl.reasons & point.reasons
                if crl.base is not None or not _may_speak(crl, certificate, point) or about <= covered:
                    continue
                code = self._complaint(crl, point, asked)
                if code is not None:
                    codes.add(code)
                    continue
                found = self._entry(crl, point, asked)
                if found is not None and found is not x509.ReasonFlags.remove_from_crl:
                    return _Status.REVOKED, {"R-REVOKED"}
                covered |= about
        if covered == ALL_REASONS:
            return _Status.GOOD, set()
        if covered:
            codes.add("R-CRL-SCOPE")
        if not codes and any(crl.base is not None and crl.issuer == certificate.issuer for crl in self._crls):
            codes.add("R-CRL-DELTA")
        return _Status.OPEN, codes or {"R-CRL-MISSING"}

    def _entry(self, crl: Crl, point: Point, asked: _Question) -> x509.ReasonFlags | None:
        """Look the certificate up; a newer delta list has the last word (section 6.3.3 (c), (i) and (j))."""
        for delta in self._crls:
            if delta.is_delta_of(crl) and self._complaint(delta, point, asked) is None:
                found = delta.entry(asked.certificate)
                if found is not None:
                    return found
        return crl.entry(asked.certificate)

    def _complaint(self, crl: Crl, point: Point, asked: _Question) -> str | None:
        """Say why a list cannot be used for a certificate, as a code."""
        if not crl.covers(asked.certificate, point):
            return "R-CRL-SCOPE"
        if crl.this_update > asked.at:
            return "R-CRL-FUTURE"
        if crl.next_update is None or crl.next_update < asked.at:
            return "R-CRL-STALE"
        if crl.has_unknown_critical:
            return "R-CRL-CRIT-EXT"
        if asked.rules.crl_numbers and (crl.number is None or crl.number_is_critical):
            return "R-CRL-NUMBER"
        series = crl.series
        if crl.number is not None and crl.number < self._collateral.numbers.get(series, 0):
            return "R-CRL-ROLLBACK"
        complaint = self._signer_complaint(crl, asked)
        if complaint is None and crl.number is not None:
            used = self._collateral.used
            used[series] = max(crl.number, used.get(series, 0))
        return complaint

    def _signer_complaint(self, crl: Crl, asked: _Question) -> str | None:
        """Section 6.3.3 (f) and (g): the best that can be said of those who bear the issuer's name."""
        signers = chain(asked.above, asked.path[: asked.place + 1], self._lent, self._anchors.certificates)
        named = [signer for signer in signers if signer.subject == crl.issuer]
        complaint = "R-CRL-SIG" if named else "R-CRL-ISSUER"
        for signer in dict.fromkeys(named):
            if not self._is_signed_by(crl, signer, asked.rules):
                continue
            usage = signer.key_usage
            if usage is not None and not usage.crl_sign:
                complaint = "R-CRL-NO-CRLSIGN"
            elif self._is_valid_signer(signer, asked):
                return None
            else:
                complaint = "R-CRL-ISSUER"
        return complaint

    def _is_signed_by(self, crl: Crl, signer: Certificate, rules: Rules) -> bool:
        key, signed = self._signatures.key_of(signer), crl.signed
        if key is None or signed is None or not rules.strength.takes_hash(signed.hash):
            return False
        return bool(self._signatures.verified((signed.data, signer.spki), key, signed))

    def _is_valid_signer(self, signer: Certificate, asked: _Question) -> bool:
        """Whether somebody may sign lists: one of the path, or one with a path of its own to the same anchor."""
        if any(signer is one for one in asked.above) or signer.der in self._assumed:
            return True
        if asked.depth == _MAX_SIGNER_DEPTH:
            return False
        others = [one for one in (*asked.path[:-1], *self._lent) if one is not signer]
        plain = Rules(strength=asked.rules.strength, purpose=Purpose.ANY, crl_numbers=asked.rules.crl_numbers)
        return any(
            way[-1] is asked.path[-1] and self._is_good_way(way, plain, asked)
            for way in Search([signer, *others], self._anchors).ways(self._signatures)
        )

    def _is_good_way(self, way: Sequence[Certificate], rules: Rules, asked: _Question) -> bool:
        trial = Findings()
        if not walk(trial, way, rules, asked.at, self._signatures) or not trial.clean:
            return False
        # A list may cover its own signer: while that is asked, the signer is taken at its word.
        self._assumed.add(way[0].der)
        try:
            strangers = [place for place, one in enumerate(way[:-1]) if one not in asked.path]
            return all(
                self._status(_Question(way, place, rules, asked.at, asked.depth + 1))[0] is _Status.GOOD
                for place in strangers
            )
        finally:
            self._assumed.discard(way[0].der)


def _note(findings: Findings, path: str, status: _Status, codes: set[str], certificate: Certificate) -> None:
    if status is not _Status.GOOD:
        for code in sorted(codes):
            findings.against(code, path, "not revoked", f"serial {certificate.serial:x}: {status.value}")


def _may_speak(crl: Crl, certificate: Certificate, point: Point) -> bool:
    """Whether the list is by somebody who may speak at this point at all."""
    return crl.issuer in point.issuers if point.issuers else crl.issuer == certificate.issuer


def _demands_staple(certificate: Certificate) -> bool:
    found = certificate.extensions.get(ExtensionOID.TLS_FEATURE)
    value = found.value if found else None
    return isinstance(value, x509.TLSFeature) and x509.TLSFeatureType.status_request in value


def _readable(ders: Sequence[bytes]) -> Iterator[Certificate]:
    for der in ders:
        try:
            yield parse(der)
        except Refused:
            continue
