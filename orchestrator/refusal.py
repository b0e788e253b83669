"""What comes of a command: an answer, or a refusal. Imports nothing, so that who only asks starts quickly."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Answer", "Refused"]

Answer = Mapping[str, object] | list[dict[str, object]]


class Refused(Exception):
    """The command cannot be followed. `code` is stable, `hint` says what to do."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint
