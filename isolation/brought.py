"""Runs a command that a plugin brings, in the plugin's own environment, as if the user had called it there.

Standard input, output and errors are the caller's, the folder it runs in too. The host looks at none of it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence

from isolation.manifest import Manifest
from isolation.spec import LAUNCHER, child_environment
from isolation.store.store import Prepared

__all__ = ["DATA_VARIABLE", "run_brought"]

DATA_VARIABLE = "PENSTOCK_DATA"
"""Names the private directory of a plugin that has one (`data = true`)."""

_TERMINAL_VARIABLES = ("HOME", "TERM", "COLUMNS", "LINES", "NO_COLOR")
"""Seen by a command, which speaks to a person, beside what a worker sees."""


def run_brought(
    name: str, manifest: Manifest, prepared: Prepared, arguments: Sequence[str], host: Mapping[str, str]
) -> int:
    """Run the command `name` of a prepared plugin and return its exit status, 128 and the number for a signal.

    `host` is the caller's own environment, of which the command sees what is on the allow-list.
    """
    launch = {
        "parent": os.getpid(),
        "root": str(prepared.snapshot),
        "site": prepared.environment is not None,
        "call": manifest.commands[name],
        "name": name,
    }
    fixed = dict(manifest.env_set)
    if prepared.data is not None:
        fixed[DATA_VARIABLE] = str(prepared.data)
    environment = child_environment(host, (*_TERMINAL_VARIABLES, *manifest.env_pass), fixed)
    command = [str(prepared.python), "-I", "-S", "-B", str(LAUNCHER), json.dumps(launch), *arguments]
    status = subprocess.run(command, env=environment, check=False).returncode
    return status if status >= 0 else 128 - status
