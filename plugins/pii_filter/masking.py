"""What becomes of a find: a mask, a keyed hash or nothing in its place. Knows the settings, not the payload."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accounts import cards, ibans, is_card
from contacts import emails, ipv4, ipv6, phones
from finds import Detector, Find, found
from identities import national_ids

__all__ = ["DEFAULT_IDS", "KINDS", "Masking", "SettingError"]

KINDS = ("iban", "card", "national_id", "email", "ip", "phone")
"""What can be detected, the surest first: where two could be meant, the earlier one is."""

DEFAULT_IDS = (
    "us_ssn", "gb_nhs", "es_dni", "es_nie", "it_codicefiscale", "fr_nir", "de_idnr", "nl_bsn", "be_nn", "ch_ssn",
    "pl_pesel", "se_personnummer", "fi_hetu", "br_cpf", "ca_sin",
)  # fmt: skip

# Everything that is looked for has a digit or an @ in it; most texts have neither.
_WORTH_A_LOOK = re.compile("[\\d@\uff20]")

# 64 bits tell the values of any data set apart; longer hashes only lengthen the text.
_HASH_BYTES = 8
# Hashes are written in letters: digits could look like a number once more.
_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")


class SettingError(ValueError):
    """A setting that cannot work; the message begins with its name."""


@dataclass(frozen=True, slots=True)
class Masking:
    """What to look for and what to put in its place."""

    detectors: tuple[Detector, ...]
    actions: Mapping[str, str]
    mask: str
    salt: bytes
    keep: frozenset[str]
    numbers: bool

    @classmethod
    def of(cls, config: Mapping[str, object]) -> Masking:
        """Read `with`. Raises SettingError."""
        wanted: Sequence[str] = config.get("detect", KINDS)
        for index, kind in enumerate(wanted):
            if kind not in KINDS:
                raise SettingError(f"detect[{index}]: '{kind}' is not known; known are {', '.join(KINDS)}")
        actions = {kind: config.get("action", "mask") for kind in wanted} | dict(config.get("actions", {}))
        salt = config.get("salt", "")
        if "hash" in actions.values() and not salt:
            raise SettingError("salt: hashing needs one, or anybody could find the values by trying")
        every = {
            "iban": (ibans,),
            "card": (cards,),
            "national_id": (national_ids(config.get("national_ids", DEFAULT_IDS)),),
            "email": (emails,),
            "ip": (ipv6, ipv4),
            "phone": (phones(_regions(config.get("phone_regions", ("US",)))),),
        }
        masking = cls(
            detectors=tuple(detector for kind in KINDS if kind in wanted for detector in every[kind]),
            actions=actions,
            mask=config.get("mask", "[{kind}]"),
            salt=salt.encode(),
            keep=frozenset(value.casefold() for value in config.get("keep", ())),
            numbers=config.get("numbers", True) and "card" in wanted,
        )
        masking._check_mask()
        return masking

    def _check_mask(self) -> None:
        for kind in KINDS:
            if any(found(self.mask.replace("{kind}", kind), "", self.detectors)):
                raise SettingError(f"mask: {self.mask!r} is itself taken for personal data")

    def finds(self, text: str, name: str) -> list[Find]:
        """Find the personal data in a text that stands in the member `name`."""
        if not _WORTH_A_LOOK.search(text):
            return []
        return [
            find
            for find in found(text, name, self.detectors)
            if not self.keep or not ({text[find.start : find.end].casefold(), find.value.casefold()} & self.keep)
        ]

    def rewritten(self, text: str, finds: Sequence[Find]) -> str:
        """Put in place of each find what its kind's action says."""
        parts: list[str] = []
        end = 0
        for find in finds:
            parts += text[end : find.start], self.replacement(find)
            end = find.end
        return "".join((*parts, text[end:]))

    def replacement(self, find: Find) -> str:
        """Return what stands for one find."""
        action = self.actions[find.kind]
        if action == "remove":
            return ""
        mask = self.mask.replace("{kind}", find.kind)
        if action == "mask":
            return mask
        digest = hmac.new(self.salt, f"{find.kind}:{find.value}".encode(), hashlib.sha256).digest()[:_HASH_BYTES]
        return f"[{find.kind}:{digest.hex().translate(_LETTERS)}]"

    def number(self, value: int) -> Find | None:
        """Find a payment card that was sent as a number: nothing else is safe to tell from an id without its text."""
        digits = str(value) if 0 < value < 10**19 else ""
        return Find(0, len(digits), "card", digits) if is_card(digits) and digits not in self.keep else None


def _regions(names: Sequence[str]) -> Sequence[str]:
    from phonenumbers import SUPPORTED_REGIONS

    for index, name in enumerate(names):
        if name not in SUPPORTED_REGIONS:
            raise SettingError(f"phone_regions[{index}]: '{name}' is no region; write two capital letters, such as US")
    return names
