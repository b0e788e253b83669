"""The attestation plugin with a verifier that certificates can kill: what a hostile input might do to a library.

No certificate is known that does this to the plugin itself, so a name in the certificate says how its verifier ends.
Everything else is the plugin's own: stages, dialling, the child around each verification.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import time

import world.identity
from attest.certificates import parse
from attestation import plugin
from cryptography.x509 import DNSName

__all__ = ["plugin"]

_HOUR_SECONDS = 60 * 60
_verify_chain = world.identity.verify_chain


def _crash() -> None:
    ctypes.string_at(0)


def _spin() -> None:
    """In C, where no handler of Python's runs."""
    re.match(r"(a+)+$", "a" * 64 + "b")


def _wait() -> None:
    time.sleep(_HOUR_SECONDS)


def _fill() -> None:
    """Ask for more memory than a child is given."""
    bytearray(8 * 2**30)


def _fork() -> None:
    """Leave the pipe to a grandchild and end by a signal."""
    if os.fork() == 0:
        time.sleep(_HOUR_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


DEEDS = {"crash": _crash, "spin": _spin, "wait": _wait, "fill": _fill, "fork": _fork}


def _killed(chain, *rest):  # type: ignore[no-untyped-def]
    for name in parse(chain[0]).names:
        if isinstance(name, DNSName) and name.value.endswith(".kill.example"):
            DEEDS[name.value.partition(".")[0]]()
    return _verify_chain(chain, *rest)


world.identity.verify_chain = _killed
