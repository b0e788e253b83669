"""What will end, and from when on somebody should be told: anchors, bundles and revocation lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from attest.bundles import Bundle
from attest.crls import UnreadableCrl, parse_crl
from attest.search import Anchors

__all__ = ["Expiry", "expiries"]

_SOON = timedelta(days=30)
"""Before the end of an authority: to replace one takes people."""

_LAST_PART = 10
"""Of the life of a list, the tenth part is the last: whoever issues lists has issued the next one by then."""


@dataclass(frozen=True, slots=True)
class Expiry:
    """Something that ends."""

    what: str
    until: datetime
    warn_from: datetime

    def __str__(self) -> str:
        return f"{self.what} ends {self.until.isoformat()}"


def expiries(
    anchors: Mapping[str, Anchors], bundles: Mapping[str, Bundle], lists: Sequence[bytes]
) -> tuple[Expiry, ...]:
    """Return everything that ends, the first first."""
    found = [*_of_authorities("anchors", anchors), *_of_lists(lists)]
    found += _of_authorities("bundle", {domain: bundle.anchors for domain, bundle in bundles.items()})
    return tuple(sorted(found, key=lambda one: one.until))


def _of_authorities(kind: str, sets: Mapping[str, Anchors]) -> Iterator[Expiry]:
    for name, one in sets.items():
        for authority in one.certificates:
            what = f"{kind} {name}: {authority.view.subject.rfc4514_string()}"
            yield Expiry(what, authority.not_after, authority.not_after - _SOON)


def _of_lists(lists: Sequence[bytes]) -> Iterator[Expiry]:
    for der in lists:
        try:
            crl = parse_crl(der)
        except UnreadableCrl:
            continue  # each verification says so itself
        if crl.next_update is not None:
            last = (crl.next_update - crl.this_update) / _LAST_PART
            what = f"list {crl.number} of {crl.view.issuer.rfc4514_string()}"
            yield Expiry(what, crl.next_update, crl.next_update - last)
