"""Trouble on demand, to see what becomes of a run: a call's `args.trouble` says which stage is to fail, and how.

`{"notify": "fail"}` fails every attempt of `notify`; `{"notify": "fail once"}` only the first. Kinds: `fail`, `retry`
(an error that asks to be called again), `hang`, `crash` (before the effect), `crash_after` (the effect has happened
and the plugin could not write it down: nobody knows) and `closed` (the bank is closed, until somebody starts us with
SHOP_BANK=open in the environment).
"""

import os
import signal
import threading

from penstock_plugin import Retryable

__all__ = ["KINDS", "Trouble"]

KINDS = ("fail", "retry", "hang", "crash", "crash_after", "closed")


class Trouble:
    """What one call of one stage runs into."""

    def __init__(self, call):
        wanted = call.payload.get("args", {}).get("trouble", {}).get(call.stage, "")
        kind, _, once = wanted.partition(" ")
        if kind and (kind not in KINDS or once not in ("", "once")):
            raise ValueError(
                f"there is no trouble {wanted!r}; there are {', '.join(KINDS)}, each with ` once` behind it"
            )
        self.kind = "" if once and call.attempt > 1 else kind

    def before(self):
        """What happens before the effect."""
        if self.kind == "fail":
            raise RuntimeError("told to fail")
        if self.kind == "retry":
            raise Retryable("told to fail for now")
        if self.kind == "closed" and os.environ.get("SHOP_BANK") != "open":
            raise Retryable("the bank is closed")
        if self.kind == "hang":
            threading.Event().wait()
        if self.kind == "crash":
            os.kill(os.getpid(), signal.SIGKILL)

    def after(self):
        """What happens between the effect and its being written down."""
        if self.kind == "crash_after":
            os.kill(os.getpid(), signal.SIGKILL)
