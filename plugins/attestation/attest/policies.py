"""Certificate policies of a path: RFC 5280 section 6.1 with the policy graph of RFC 9618.

The tree of RFC 5280 can double with every certificate; the graph has at most one place for a policy at each depth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, ObjectIdentifier

from attest.certificates import Certificate
from attest.der import SEQUENCE, children
from attest.limits import MAX_POLICIES
from attest.rules import ANY_POLICY, PolicyInputs
from attest.verdict import Findings

__all__ = ["PolicyGraph", "policy_mappings"]

_MAPPINGS = ObjectIdentifier("2.5.29.33")


@dataclass(slots=True)
class _Place:
    """One policy at one depth. `expected` is what the next certificate may call it."""

    policy: str
    expected: frozenset[str]
    parents: list[_Place]


class PolicyGraph:
    """The policies that hold from the anchor down to the certificate reached so far, and the three counters."""

    def __init__(self, inputs: PolicyInputs, length: int) -> None:
        self._inputs = inputs
        self._explicit = 0 if inputs.explicit else length + 1
        self._mapping = 0 if inputs.inhibit_mapping else length + 1
        self._any = 0 if inputs.inhibit_any else length + 1
        self._levels: list[dict[str, _Place]] = [{ANY_POLICY: _Place(ANY_POLICY, frozenset({ANY_POLICY}), [])}]
        self._is_null = False
        self._missed = False

    def judge(self, findings: Findings, path: str, certificate: Certificate, *, is_last: bool) -> None:
        """Take the next certificate of the path; a policy that is missed is missed once."""
        self._enter(certificate, is_last=is_last)
        if self._is_null and self._explicit == 0:
            self._miss(findings, path, "an explicit policy")
        if is_last:
            self._finish(findings, path, certificate)
        else:
            self._descend(findings, path, certificate)

    def _miss(self, findings: Findings, path: str, expected: str) -> None:
        if not self._missed:
            findings.against("X-POLICY-CONSTRAINT", path, expected, "no policy that holds for the path")
        self._missed = True

    def _enter(self, certificate: Certificate, *, is_last: bool) -> None:
        """Section 6.1.3 (d) and (e)."""
        policies = _policies(certificate)
        if policies is None:
            self._is_null = True
        if self._is_null or policies is None:
            return
        before, level = self._levels[-1], dict[str, _Place]()
        self._levels.append(level)
        for policy in policies - {ANY_POLICY}:
            parents = [place for place in before.values() if policy in place.expected]
            if not parents and ANY_POLICY in before:
                parents = [before[ANY_POLICY]]
            if parents:
                level[policy] = _Place(policy, frozenset({policy}), parents)
        if ANY_POLICY in policies and (self._any > 0 or (not is_last and certificate.self_issued)):
            self._stand_in(before, level)
        self._prune()

    @staticmethod
    def _stand_in(before: Mapping[str, _Place], level: dict[str, _Place]) -> None:
        """Let anyPolicy stand for what is expected and not named (d, 2)."""
        for expected in {policy for place in before.values() for policy in place.expected} - level.keys():
            parents = [place for place in before.values() if expected in place.expected]
            level[expected] = _Place(expected, frozenset({expected}), parents)

    def _descend(self, findings: Findings, path: str, certificate: Certificate) -> None:
        """Section 6.1.4 (a), (b) and (h) to (j): from an authority's certificate to the next."""
        mappings = policy_mappings(certificate) or ()  # malformed ones are a finding of their own
        if any(ANY_POLICY in pair for pair in mappings):
            findings.against("X-POLICY-MAPPING", path, "named policies", "anyPolicy")
        elif mappings and not self._is_null:
            self._map(mappings)
        if not certificate.self_issued:
            self._explicit, self._mapping, self._any = (
                max(0, counter - 1) for counter in (self._explicit, self._mapping, self._any)
            )
        constraints = _value(certificate, ExtensionOID.POLICY_CONSTRAINTS)
        if isinstance(constraints, x509.PolicyConstraints):
            self._explicit = _lower(self._explicit, constraints.require_explicit_policy)
            self._mapping = _lower(self._mapping, constraints.inhibit_policy_mapping)
        inhibit = _value(certificate, ExtensionOID.INHIBIT_ANY_POLICY)
        if isinstance(inhibit, x509.InhibitAnyPolicy):
            self._any = _lower(self._any, inhibit.skip_certs)

    def _map(self, mappings: Iterable[tuple[str, str]]) -> None:
        level = self._levels[-1]
        targets: dict[str, set[str]] = {}
        for issuer, subject in mappings:
            targets.setdefault(issuer, set()).add(subject)
        for issuer, subjects in targets.items():
            if self._mapping == 0:
                level.pop(issuer, None)
            elif issuer in level:
                level[issuer].expected = frozenset(subjects)
            elif ANY_POLICY in level:
                level[issuer] = _Place(issuer, frozenset(subjects), list(level[ANY_POLICY].parents))
        self._prune()

    def _finish(self, findings: Findings, path: str, certificate: Certificate) -> None:
        """Section 6.1.5 (a), (b) and (g)."""
        explicit = max(0, self._explicit - 1)
        constraints = _value(certificate, ExtensionOID.POLICY_CONSTRAINTS)
        if isinstance(constraints, x509.PolicyConstraints) and constraints.require_explicit_policy == 0:
            explicit = 0
        if explicit == 0 and not self._accepted():
            self._miss(findings, path, ", ".join(sorted(self._inputs.initial)))

    def _accepted(self) -> bool:
        """Whether a policy that the caller takes holds for the whole path (RFC 9618 section 5.4)."""
        if self._is_null:
            return False
        last = self._levels[-1]
        if ANY_POLICY in self._inputs.initial or ANY_POLICY in last:
            return bool(last)
        named: set[str] = set()
        reached = {id(place): place for place in last.values()}
        for _ in self._levels:
            named |= {place.policy for place in reached.values() if _is_named_by_anybody(place)}
            reached = {id(parent): parent for place in reached.values() for parent in place.parents}
        return bool(named & self._inputs.initial)

    def _prune(self) -> None:
        """Drop places without children, from the last depth upwards; nothing left at the last is no graph at all."""
        for depth in range(len(self._levels) - 2, -1, -1):
            used = {id(parent) for place in self._levels[depth + 1].values() for parent in place.parents}
            level = self._levels[depth]
            for policy in [policy for policy, place in level.items() if id(place) not in used]:
                del level[policy]
        self._is_null = self._is_null or not self._levels[-1]


def _is_named_by_anybody(place: _Place) -> bool:
    """Whether the place hangs from anyPolicy: there the authority chose the policy's name itself."""
    return place.policy != ANY_POLICY and any(parent.policy == ANY_POLICY for parent in place.parents)


def _lower(counter: int, limit: int | None) -> int:
    return counter if limit is None else min(counter, limit)


def _value(certificate: Certificate, oid: ObjectIdentifier) -> x509.ExtensionType | None:
    found = certificate.extensions.get(oid)
    return found.value if found else None


@lru_cache(maxsize=512)
def _policies(certificate: Certificate) -> frozenset[str] | None:
    value = _value(certificate, ExtensionOID.CERTIFICATE_POLICIES)
    if not isinstance(value, x509.CertificatePolicies):
        return None
    return frozenset(one.policy_identifier.dotted_string for one in list(value)[:MAX_POLICIES])


@lru_cache(maxsize=512)
def policy_mappings(certificate: Certificate) -> tuple[tuple[str, str], ...] | None:
    """Return the pairs of policies, from the extension's own bytes: the library does not read it. None if malformed."""
    value = _value(certificate, _MAPPINGS)
    if not isinstance(value, x509.UnrecognizedExtension):
        return ()
    try:
        return tuple(_read_mappings(value.value))
    except ValueError:
        return None


def _read_mappings(data: bytes) -> list[tuple[str, str]]:
    """Read PolicyMappings (RFC 5280 section 4.2.1.5). Raises ValueError."""
    listing = children(data)
    if len(listing) != 1 or listing[0][0] != SEQUENCE:
        raise ValueError("policy mappings are no SEQUENCE")
    found = []
    for tag, _, start, end in children(data, listing[0][2])[:MAX_POLICIES]:
        pair = children(data, start, end)
        if tag != SEQUENCE or [one[0] for one in pair] != [0x06, 0x06]:
            raise ValueError("a policy mapping is no pair of identifiers")
        issuer, subject = (_dotted(data[one[2] : one[3]]) for one in pair)
        found.append((issuer, subject))
    return found


def _dotted(content: bytes) -> str:
    numbers, number = [], 0
    for byte in content:
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            numbers.append(number)
            number = 0
    if not content or content[-1] >= 0x80:
        raise ValueError("an object identifier is cut off")
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))
