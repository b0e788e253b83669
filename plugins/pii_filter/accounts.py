"""Where money is: payment cards and bank accounts. Their check digits decide."""

from __future__ import annotations

import re
from collections.abc import Iterator

from finds import Find
from stdnum import iban, luhn

__all__ = ["cards", "ibans"]

# Groups of digits with one sign between them. A digit next to a letter, or behind a decimal point, is no card.
_RUN = re.compile(r"(?<![\w])(?<!\d[.,])\d+(?:[ .\-]\d+)*(?!\w)(?!,\d)")
_FRACTION = re.compile(r"\.\d")
_GROUP = re.compile(r"\d+")
_GROUPINGS = frozenset({(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (4, 4, 4, 1), (6, 13), (4, 4, 5)})
_MIN_CARD, _MAX_CARD = 13, 19

# ISO/IEC 7812: prefixes of the payment networks, and how long their numbers are.
_NETWORK = re.compile(
    r"""4(?:\d{12}|\d{15}|\d{18})                                   # Visa
    | (?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}  # Mastercard
    | 3[47]\d{13}                                              # American Express
    | 3(?:0[0-59]|[689]\d)\d{11}                               # Diners Club
    | (?:35(?:2[89]|[3-8]\d)                                   # JCB
      |  6(?:011|4[4-9]\d|5\d\d|2\d\d)                         # Discover, UnionPay, RuPay
      |  6(?:0[678]\d|3(?:04|3[134]|[79]\d)|7(?:5[069]|6[1-37]|71))  # RuPay, Hipercard, Maestro
      |  5(?:0(?:1[89]|2\d|38|6\d)|6(?:1[02]|02)|8(?:1[089]|9[23]))  # Maestro, Dankort, Verve, Elo
      |  220[0-4] | 9792                                       # Mir, Troy
      )\d{12,15}""",
    re.VERBOSE,
)


def cards(text: str, name: str) -> Iterator[Find]:
    """Find payment cards: a network's prefix and length, Luhn's check digit, and a grouping that cards have.

    Where nothing else stands in the run of numbers, it may also be in single digits, in pairs or in few large groups.
    """
    for run in _RUN.finditer(text):
        if len(run[0]) < _MIN_CARD:
            continue
        groups = [match.span() for match in _GROUP.finditer(text, run.start(), run.end())]
        yield from _cards_in(text, groups)


def _cards_in(text: str, groups: list[tuple[int, int]]) -> Iterator[Find]:
    first = 0
    while first < len(groups):
        last = _card_from(text, groups, first)
        if last:
            start, end = groups[first][0], groups[last - 1][1]
            yield Find(start, end, "card", _digits(text[start:end]))
        first = last or first + 1


def _card_from(text: str, groups: list[tuple[int, int]], first: int) -> int:
    """Return the index behind the last group of a card that begins with group `first`, or 0."""
    if text[groups[first][0]] in "0178":  # no network has these; most rows of numbers end here
        return 0
    lengths: list[int] = []
    for index in range(first, len(groups)):
        start, end = groups[index]
        lengths.append(end - start)
        if sum(lengths) > _MAX_CARD:
            return 0
        # One group of many is a number of its own; behind a dot it is the fraction of one.
        alone = len(lengths) == 1 and text[start - 1 : start] != "." and not _FRACTION.match(text, end)
        whole = first == 0 and index == len(groups) - 1
        may_be = (whole and _is_spread(lengths)) or alone or tuple(lengths) in _GROUPINGS
        if may_be and is_card(_digits(text[groups[first][0] : end])):
            return index + 1
    return 0


def _is_spread(lengths: list[int]) -> bool:
    """Tell whether a number was pulled apart on purpose or by hand: other groups are numbers of their own."""
    return max(lengths) == 1 or set(lengths[:-1]) == {2} or min(lengths) >= 4


def is_card(digits: str) -> bool:
    """Tell whether the digits are a payment card's: prefix, length, check digit, and not one digit all through."""
    if not _MIN_CARD <= len(digits) <= _MAX_CARD or len(set(digits)) == 1:
        return False
    return _NETWORK.fullmatch(digits) is not None and luhn.is_valid(digits)


def _digits(text: str) -> str:
    return "".join(char for char in text if char.isdecimal())


_IBAN_HEAD = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?=[ -]?[A-Za-z0-9])")
# The rest of an IBAN: groups with at most one blank or dash between them, up to 30 characters.
_IBAN_REST = re.compile(r"(?:[ -]?[A-Za-z0-9]){11,30}")


def ibans(text: str, name: str) -> Iterator[Find]:
    """Find IBANs of every registered country: length, structure and both check digits must be right."""
    position = 0
    while head := _IBAN_HEAD.search(text, position):
        position = head.end()
        rest = _IBAN_REST.match(text, head.end())
        if rest and (end := _iban_end(text, head.start(), rest)):
            yield Find(head.start(), end, "iban", iban.compact(text[head.start() : end]))
            position = end


def _iban_end(text: str, start: int, rest: re.Match[str]) -> int:
    """Return where the IBAN ends, trying each end of a group, the longest first; 0 if there is none."""
    for end in range(rest.end(), rest.start() + 10, -1):
        at_boundary = end == len(text) or not text[end].isalnum()
        if at_boundary and text[end - 1].isalnum() and iban.is_valid(text[start:end]):
            return end
    return 0
