"""`attest approvals`: what servers have become, and whether an operator takes them so."""

from __future__ import annotations

import argparse

from world.admissions import Admissions

__all__ = ["add_approvals"]


def add_approvals(approvals: argparse.ArgumentParser) -> None:
    """Describe the commands."""
    actions = approvals.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="what is asked for, and what was given and not used yet").set_defaults(run=_list)
    give = actions.add_parser("give", help="let a server in as it is now: exactly what DIGEST stands for")
    withdraw = actions.add_parser("withdraw", help="forget what was asked for, or given")
    for action, run in ((give, _give), (withdraw, _withdraw)):
        action.add_argument("server", metavar="SERVER", help="its URL, as `list` shows it")
        action.add_argument("--tenant", default="")
        action.set_defaults(run=run)
    give.add_argument("digest", metavar="DIGEST", help="as `list` shows it")


def _list(given: argparse.Namespace) -> int:
    for one in _admissions(given).approvals():
        tenant = f" tenant {one.tenant}" if one.tenant else ""
        print(f"{one.server}{tenant} {one.digest} {'given' if one.given else 'asked for'}: {one.codes}")
    return 0


def _give(given: argparse.Namespace) -> int:
    return _said(_admissions(given).approve(given.server, given.tenant, given.digest), "given", given)


def _withdraw(given: argparse.Namespace) -> int:
    return _said(_admissions(given).withdraw(given.server, given.tenant), "withdrawn", given)


def _said(is_done: bool, word: str, given: argparse.Namespace) -> int:
    print(f"{given.server}: {word}" if is_done else f"{given.server}: nothing of the kind is asked for")
    return 0 if is_done else 1


def _admissions(given: argparse.Namespace) -> Admissions:
    if given.data is None:
        raise ValueError("there is no data directory: say --data")
    return Admissions(given.data / "admitted.db")
