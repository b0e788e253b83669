"""`attest anchors`: what is trusted, changed while the plugin serves."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from attest.bundles import read_bundle
from attest.expiry import Expiry, expiries
from attest.search import Anchors
from world.settings import pem_blocks
from world.trust import Item, Kind, OlderSequence, TrustStore

__all__ = ["add_anchors"]


def add_anchors(anchors: argparse.ArgumentParser) -> None:
    """Describe the commands."""
    actions = anchors.add_subparsers(required=True, metavar="ACTION")
    said = {
        "list": (_list, "what the trust store holds, and what of it ends soon"),
        "add": (_add, "add anchors to a set of the store: the first half of a rotation"),
        "rotate": (_rotate, "put anchors in the place of a set"),
        "remove": (_remove, "remove a set: nobody under it is let in any more"),
    }
    for name, (run, text) in said.items():
        action = actions.add_parser(name, help=text)
        if name != "list":
            action.add_argument("set", metavar="SET")
        if name in ("add", "rotate"):
            action.add_argument("file", type=Path, metavar="FILE", help="anchors in PEM")
            action.add_argument("--sequence", type=int, help="default: the next")
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
    item = _store(given).snapshot().of(Kind.ANCHORS).get(given.set)
    if item is None:
        print("new in the store: anchors that are configured under this name count no more", file=sys.stderr)
    before = item.data.decode() if item is not None and item.data is not None else ""
    return _put(given, before + given.file.read_text())


def _rotate(given: argparse.Namespace) -> int:
    return _put(given, given.file.read_text())


def _put(given: argparse.Namespace, text: str) -> int:
    Anchors.of(pem_blocks(text))  # what cannot be read is not stored
    try:
        item = _store(given).put(Kind.ANCHORS, given.set, text.encode(), given.sequence)
    except OlderSequence as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    print(f"{given.set} sequence {item.sequence}")
    return 0


def _remove(given: argparse.Namespace) -> int:
    print(f"{given.set} sequence {_store(given).put(Kind.ANCHORS, given.set, None).sequence}: removed")
    return 0


def _store(given: argparse.Namespace) -> TrustStore:
    if given.data is None:
        raise ValueError("there is no data directory: say --data")
    return TrustStore(given.data / "trust.db")
