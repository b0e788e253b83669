"""`attest anchors`: what is trusted, changed while the plugin serves: anchors, bundles, lists and the policy."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from attest.bundles import read_bundle
from attest.crls import parse_crl
from attest.expiry import Expiry, expiries
from attest.policy import NAME, read_policy
from attest.search import Anchors
from attest.spiffe import read_trust_domain
from world.settings import pem_blocks
from world.trust import Item, Kind, OlderSequence, TrustStore

__all__ = ["add_anchors"]


def add_anchors(anchors: argparse.ArgumentParser) -> None:
    """Describe the commands."""
    actions = anchors.add_subparsers(required=True, metavar="ACTION")
    said = {
        "list": (_list, "what the trust store holds, and what of it ends soon"),
        "add": (_add, "add anchors, or lists, to a set that the store has: the first half of a rotation"),
        "rotate": (_rotate, "put something in the place of what the store has under a name"),
        "remove": (_remove, "remove a set: nobody under it is let in any more"),
    }
    for name, (run, text) in said.items():
        action = actions.add_parser(name, help=text)
        if name != "list":
            action.add_argument("set", metavar="NAME", help="the set; for a bundle its trust domain; `policy`")
            kinds = [kind.value for kind in Kind]
            action.add_argument("--kind", choices=kinds, default=Kind.ANCHORS.value, help="default: anchors")
        if name in ("add", "rotate"):
            action.add_argument("file", type=Path, metavar="FILE", help="PEM; a bundle's JSON; a policy's YAML")
            action.add_argument("--sequence", type=int, help="default: the next")
        if name == "add":
            new = "the store has no such set: begin one, in the place of anchors that are configured under this name"
            action.add_argument("--new", action="store_true", help=new)
        action.set_defaults(run=run)


def _list(given: argparse.Namespace) -> int:
    now = datetime.now(UTC)
    snapshot = _store(given).snapshot()
    for item in snapshot.items:
        state = ": removed" if item.data is None else ""
        print(f"{item.kind.value} {item.name} sequence {item.sequence}{state}")
        for one in _ends(item):
            print(f"  {one}{'; ENDS SOON' if one.warn_from <= now else ''}")
    return 0


def _ends(item: Item) -> tuple[Expiry, ...]:
    if item.data is None or item.kind is Kind.POLICY:
        return ()
    if item.kind is Kind.BUNDLE:
        return expiries({}, {item.name: read_bundle(item.name, item.data)}, ())
    ders = pem_blocks(item.data.decode())
    return expiries({}, {}, ders) if item.kind is Kind.CRL else expiries({item.name: Anchors.of(ders)}, {}, ())


def _add(given: argparse.Namespace) -> int:
    kind = Kind(given.kind)
    if kind not in _LISTED:
        raise ValueError(f"nothing is added to a {kind.value}: say rotate")
    item = _store(given).snapshot().of(kind).get(given.set)
    if item is None and kind is Kind.ANCHORS and not given.new:
        raise ValueError(_UNKNOWN.format(name=given.set))
    added = given.file.read_bytes()
    _READ[kind](given.set, added)  # by itself: what came before could hide that it is nothing of the kind
    before = item.data.splitlines() if item is not None and item.data is not None else []
    if item is not None and given.sequence is None:
        given.sequence = item.sequence + 1  # that of somebody who changes it meanwhile is refused, and not lost
    return _put(given, kind, b"\n".join((*before, added)))


def _rotate(given: argparse.Namespace) -> int:
    return _put(given, Kind(given.kind), given.file.read_bytes())


def _put(given: argparse.Namespace, kind: Kind, data: bytes) -> int:
    if kind is Kind.POLICY and given.set != _POLICY:
        raise ValueError(f"the policy's name in the store is `{_POLICY}`")
    if kind is Kind.ANCHORS and not re.fullmatch(NAME, given.set):
        raise ValueError(f"no rule could name a set `{given.set}`")
    _READ[kind](given.set, data)  # what cannot be read is not stored
    try:
        item = _store(given).put(kind, given.set, data, given.sequence)
    except OlderSequence as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    print(f"{given.set} sequence {item.sequence}")
    return 0


def _read_anchors(_: str, data: bytes) -> object:
    return Anchors.of(pem_blocks(data.decode()))


def _read_lists(_: str, data: bytes) -> object:
    return [parse_crl(der) for der in pem_blocks(data.decode())]


_READ: Mapping[Kind, Callable[[str, bytes], object]] = {
    Kind.ANCHORS: _read_anchors,
    Kind.CRL: _read_lists,
    Kind.BUNDLE: lambda domain, data: read_bundle(read_trust_domain(domain), data),
    Kind.POLICY: lambda _, data: read_policy(data),
}
_LISTED = (Kind.ANCHORS, Kind.CRL)
"""What may be several in one item."""

_POLICY = "policy"


_UNKNOWN = (
    "the store has no set `{name}`, and anchors that are configured under this name, which cannot be seen from here, "
    "would count no more. To keep them say `anchors rotate {name} FILE`, with them and the new ones in one file; where "
    "none are configured, or none are to be kept, say --new"
)


def _remove(given: argparse.Namespace) -> int:
    kind = Kind(given.kind)
    if kind is Kind.POLICY:
        raise ValueError("without a policy nothing could be decided: rotate to another")
    if given.set not in _store(given).snapshot().of(kind):
        print(f"not in the store: {kind.value} configured as {given.set} count no more", file=sys.stderr)
    print(f"{given.set} sequence {_store(given).put(kind, given.set, None).sequence}: removed")
    return 0


def _store(given: argparse.Namespace) -> TrustStore:
    if given.data is None:
        raise ValueError("there is no data directory: say --data")
    return TrustStore(given.data / "trust.db")
