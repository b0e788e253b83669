"""What two spellings of one word have in common: the form in which words and texts are compared."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["Folding"]

# Characters that show nothing: soft hyphen, grapheme joiner, zero-width, direction marks, word joiners, variation
# selectors, tags, fillers. Between two letters of a word they hide it from a plain search.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)
_BLANKS = re.compile(r"\s+")


class Folding:
    """How far two spellings may differ and still be one word."""

    def __init__(self, *, case_sensitive: bool = False, accents: bool = True) -> None:
        self.case_sensitive = case_sensitive
        self.accents = accents

    def __call__(self, text: str) -> str:
        """Fold a text; folding twice changes nothing more."""
        if not text.isascii():
            text = self._unicode(text)
        if not self.case_sensitive:
            text = text.casefold()
            if not text.isascii():
                text = unicodedata.normalize("NFKC", text)
        return _BLANKS.sub(" ", text)

    def _unicode(self, text: str) -> str:
        """Full-width, circled and mathematical letters become plain ones, ligatures two, invisible ones none."""
        text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)))
        if self.accents:
            return text
        apart = unicodedata.normalize("NFKD", text)
        return unicodedata.normalize("NFKC", "".join(char for char in apart if not unicodedata.combining(char)))
