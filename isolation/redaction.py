"""Takes the secrets of a plugin out of what it says: logs, prints, errors. A last net, for plugins that are careless.

What a plugin answers is its own matter: it may well be its task to put a token into a payload.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from isolation.protocol.messages import Fault

__all__ = ["REDACTED", "SHORTEST_CHARACTERS", "Redaction"]

REDACTED = "[secret]"

SHORTEST_CHARACTERS = 6
"""What is shorter stands in too many ordinary words; it would garble the log, and hide little."""


class Redaction:
    """The secrets that a worker has been handed so far; those it had before may still be said."""

    __slots__ = ("_words",)

    def __init__(self) -> None:
        self._words: tuple[str, ...] = ()

    def learn(self, table: Mapping[str, object]) -> None:
        """Note the secrets of a table for `configure`; of one with several lines, each line, as they are printed."""
        words = set(self._words)
        for entry in table.values():
            secrets = entry.get("secrets") if isinstance(entry, Mapping) else None
            for value in secrets.values() if isinstance(secrets, Mapping) else ():
                words.update((str(value), *str(value).splitlines()))
        # The longest first: a part must not be taken out of a whole that is known.
        self._words = tuple(sorted((w for w in words if len(w) >= SHORTEST_CHARACTERS), key=lambda w: (-len(w), w)))

    def text(self, text: str) -> str:
        """The text without the secrets in it."""
        for word in self._words:
            text = text.replace(word, REDACTED)
        return text

    def value(self, value: object) -> object:
        """The same for what JSON holds: every text in it, names of members too."""
        if not self._words:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.value(name): self.value(member) for name, member in value.items()}
        return [self.value(item) for item in value] if isinstance(value, list) else value

    def parameters(self, params: bytes) -> bytes:
        """The same for the parameters of a notification; what is no JSON is left for others to refuse."""
        if not self._words:
            return params
        try:
            return msgspec.json.encode(self.value(msgspec.json.decode(params)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return b""

    def fault(self, fault: Fault) -> Fault:
        """The same for the error that a plugin answers with."""
        return Fault(fault.code, self.text(fault.message), self.value(fault.data)) if self._words else fault
