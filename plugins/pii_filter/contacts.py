"""How to reach somebody: e-mail addresses, phone numbers, network addresses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence

from finds import Detector, Find
from phonenumbers import Leniency, PhoneNumberFormat, PhoneNumberMatcher, format_number

__all__ = ["emails", "ipv4", "ipv6", "phones"]

# Each pattern is anchored to one character or bounded in length, so that the time stays linear in the text.
_LOCAL = re.compile(r"\w[\w+%&'~-]*(?:\.[\w+%&'~-]+)*\Z")
_DOMAIN = re.compile(
    r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}(?:[^\W\d_]{2,24}|xn--[a-z0-9-]{2,59})(?![\w-])", re.IGNORECASE
)
# `logo@2x.png` names a file, `git@host:path` a repository, `user:word@host/` in a URL a login. No ending here is a
# country's: `.md` and `.py` are.
_FILE = re.compile(r".*\.(?:png|jpe?g|gif|webp|svg|css|js|json|ts|whl|gz)\Z", re.IGNORECASE)
_LOGIN = re.compile(r"://(?:[^/?#\s@:]*:)?\Z")
_LOCAL_CHARS = 64


def emails(text: str, name: str) -> Iterator[Find]:
    """Find addresses with a domain that could exist; the one spelling is in lower case."""
    at = text.find("@")
    while at >= 0:
        end = at + 1
        before = text[max(0, at - _LOCAL_CHARS) : at]
        local, domain = _LOCAL.search(before), _DOMAIN.match(text, at + 1)
        if local and domain and not _is_no_address(text, at - len(local[0]), domain):
            start, end = at - len(local[0]), domain.end()
            yield Find(start, end, "email", text[start:end].lower())
        at = text.find("@", end)


def _is_no_address(text: str, start: int, domain: re.Match[str]) -> bool:
    return (
        _FILE.match(domain[0]) is not None
        or text[start : domain.end() + 1] == f"git@{domain[0]}:"
        or _LOGIN.search(text, max(0, start - 80), start) is not None
    )


# A run of what phone numbers are written with: it begins with +, ( or a digit and ends with a digit.
_PHONE = re.compile(r"(?<![\w+.,/@#$€£-])(?:\+|\()?\d(?:[ ().\-/\t]{0,3}\d){5,19}(?![\w@])(?![.,]\d)")
# How national numbers are grouped: an area code in brackets or behind a 0, or a few groups of two to four digits.
_GROUPED = re.compile(r"\(\d{2,5}\)|(?<!\d)0\d{1,4}[ .\-/]|(?<!\d)\d{2,4}(?:[ .\-/]\d{2,4}){2,4}(?!\d)")
_WRITTEN_DATE = re.compile(r"\(?(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})\b")
# How far back a word may stand that says what a number is.
_NEAR_CHARS = 24
# Not the word in a mask that stands for another number.
_PHONE_NAME = re.compile(
    r"(?<!\[)(?:phone|mobile|cell|tel(?:efon|ephone|)?\b|fax|whatsapp|msisdn|handy)", re.IGNORECASE
)


def phones(regions: Sequence[str]) -> Detector:
    """Find international numbers, and national ones of `regions` where they are written as phone numbers are.

    A bare run of digits is an id as likely as a phone number: it counts only in a member or behind a word that says so.
    """

    def detect(text: str, name: str) -> Iterator[Find]:
        for match in _PHONE.finditer(text):
            if match[0].startswith("+"):
                yield from _numbers(match[0], match.start(), None, Leniency.VALID)
            elif _is_written_as_one(match, name):
                yield from _national(match[0], match.start(), regions)

    return detect


def _is_written_as_one(match: re.Match[str], name: str) -> bool:
    if _WRITTEN_DATE.match(match[0]):
        return False
    near = max(0, match.start() - _NEAR_CHARS)
    return bool(
        _GROUPED.search(match[0]) or _PHONE_NAME.search(name) or _PHONE_NAME.search(match.string, near, match.start())
    )


def _national(window: str, offset: int, regions: Sequence[str]) -> Iterator[Find]:
    for region in regions:
        finds = list(_numbers(window, offset, region, Leniency.STRICT_GROUPING))
        if finds:
            yield from finds
            return


def _numbers(window: str, offset: int, region: str | None, leniency: int) -> Iterator[Find]:
    for match in PhoneNumberMatcher(window, region, leniency=leniency):
        value = format_number(match.number, PhoneNumberFormat.E164)
        yield Find(offset + match.start, offset + match.end, "phone", value)


_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w-])(?!\.\d)")
_HEXTET = r"[0-9a-f]{0,4}"
_IPV6 = re.compile(
    rf"(?<![\w:.])(?=[0-9a-f:.]{{0,45}}\d)"
    rf"(?:{_HEXTET}(?::{_HEXTET}){{1,6}}:\d{{1,3}}(?:\.\d{{1,3}}){{3}}|{_HEXTET}(?::{_HEXTET}){{2,8}})"
    r"(?![\w:])(?!\.\d)",
    re.IGNORECASE,
)
# What stands before a dotted version: a word for it, a comparison, or the name of a product (`curl/7.88.1.2`).
_VERSION = re.compile(
    r"(?:\b(?:version|ver|release|build|firmware|rev)\b[ :=]{0,3}|[=<>~!]=\s?|\^|[A-Za-z][/_-])\Z", re.IGNORECASE
)
_VERSION_NAME = re.compile(r"version|release|build|user.?agent", re.IGNORECASE)


def ipv6(text: str, name: str) -> Iterator[Find]:
    """Find IPv6 addresses, with an IPv4 one at their end or not; a digit must be in them, or `ab::cd` were one."""
    if text.count(":") >= 2:
        for match in _IPV6.finditer(text):
            yield from _address(match)


def ipv4(text: str, name: str) -> Iterator[Find]:
    """Find IPv4 addresses where no version of something is meant."""
    if "." in text and not _VERSION_NAME.search(name):
        for match in _IPV4.finditer(text):
            if not _VERSION.search(text, max(0, match.start() - 16), match.start()):
                yield from _address(match)


def _address(match: re.Match[str]) -> Iterator[Find]:
    """Yield the address if it is one and may lead to a person: not loopback, not the unspecified one."""
    try:
        address = ipaddress.ip_address(match[0])
    except ValueError:
        return
    if not (address.is_loopback or address.is_unspecified):
        yield Find(match.start(), match.end(), "ip", str(address))
