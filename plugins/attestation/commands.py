"""The command `attest`, run in the plugin's own environment: `penstock attest verify|audit|anchors|approvals ...`."""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from attest.certificates import Refused
from attest.crls import UnreadableCrl
from command_line.anchoring import add_anchors
from command_line.approving import add_approvals
from command_line.auditing import add_audit
from command_line.verifying import add_verify

_DATA = "PENSTOCK_DATA"
"""Set by the host: the directory that the plugin's workers keep their things in."""

_MISUSED = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 admitted or done, 1 not admitted or found wrong, 2 misused."""
    given = _parser().parse_args(arguments)
    try:
        return int(given.run(given))
    except (ValueError, OSError, sqlite3.Error, Refused, UnreadableCrl) as error:
        print(f"error: {error}", file=sys.stderr)
        return _MISUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="penstock attest", description="Verify files, the record and what is trusted."
    )
    own = Path(os.environ[_DATA]) if _DATA in os.environ else None
    parser.add_argument("--data", type=Path, default=own, help="the plugin's data directory; default: its own")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_verify(commands.add_parser("verify", help="verify a file as the stages would, at any time"))
    add_audit(commands.add_parser("audit", help="the record of decisions"))
    add_anchors(commands.add_parser("anchors", help="the trust store"))
    add_approvals(commands.add_parser("approvals", help="servers that changed, and what is made of it"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
