"""The world outside of the plugin, as a file of JSON lines: what really happened, in the order in which it did.

It stands for the stock of a shop, the books of a bank and a mail server. It is written by single appends, so that a
process which is killed leaves a whole line or none, and many processes may write at once.
"""

import json
import os
import time

__all__ = ["World"]


class World:
    """One file. Each line is {key, stage, what, at, pid}; `key` is that of the call that did it, in an undo too."""

    def __init__(self, path):
        self.path = path

    def change(self, key, stage, what, **more):
        """Let something happen: `what` is "do" or "undo"."""
        line = json.dumps({"key": key, "stage": stage, "what": what, "at": time.time(), "pid": os.getpid(), **more})
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode() + b"\n")
        finally:
            os.close(descriptor)

    def saw(self, key, what):
        """Whether it happened. A real shop would ask its bank for a transfer with this reference."""
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return False
        return any((line["key"], line["what"]) == (key, what) for line in map(json.loads, lines))
