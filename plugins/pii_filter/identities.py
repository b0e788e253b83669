"""Who somebody is to a state: national identity, tax and health numbers, as python-stdnum knows them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from finds import Detector, Find

__all__ = ["KNOWN", "national_ids"]

# How far back a word may stand that says what a number is.
_NEAR_CHARS = 40


@dataclass(frozen=True, slots=True)
class _Number:
    """One kind of number. `shape` is how it is written where it can be told without being named.

    `bare` is how it is written where digits alone would be too many things; one of `words` must then stand before it
    or in the name of its member. A shape in blanks must not be part of a row of numbers.
    """

    module: str
    shape: str | None = None
    bare: str | None = None
    words: str = ""


KNOWN = {
    "at_vnr": _Number("at.vnr", None, r"\d{4} ?\d{6}", "svnr|vsnr|sozialversicherung|versicherungsnummer"),
    "au_tfn": _Number("au.tfn", None, r"\d{3} ?\d{3} ?\d{2,3}", "tfn|tax file"),
    "be_nn": _Number("be.nn", r"\d\d\.\d\d\.\d\d-\d{3}\.\d\d", r"\d{11}", "rijksregister|registre national|niss|insz"),
    "br_cpf": _Number("br.cpf", r"\d{3}\.\d{3}\.\d{3}-\d\d", r"\d{11}", "cpf"),
    "ca_sin": _Number("ca.sin", None, r"\d{3}[ -]?\d{3}[ -]?\d{3}", "sin|social insurance|nas"),
    "ch_ssn": _Number("ch.ssn", r"756\.?\d{4}\.?\d{4}\.?\d\d"),
    "cn_ric": _Number("cn.ric", r"[1-9]\d{5}(?:19|20)\d{9}[0-9Xx]"),
    "de_idnr": _Number("de.idnr", r"(?<!\d )\d\d \d{3} \d{3} \d{3}(?! \d)", r"\d{11}", "idnr|steuer|tax.?id|tin"),
    "dk_cpr": _Number("dk.cpr", None, r"\d{6}-?\d{4}", "cpr|personnummer"),
    "es_dni": _Number("es.dni", r"\d{8}-?[A-Za-z]"),
    "es_nie": _Number("es.nie", r"[XYZxyz]-?\d{7}-?[A-Za-z]"),
    "fi_hetu": _Number("fi.hetu", r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]"),
    "fr_nir": _Number("fr.nir", r"[12378] ?\d\d ?\d\d ?\d[0-9AB] ?\d{3} ?\d{3} ?\d\d"),
    "gb_nhs": _Number("gb.nhs", r"(?<!\d )\d{3} \d{3} \d{4}(?! \d)", r"\d{3}-?\d{3}-?\d{4}", "nhs|national health"),
    "ie_pps": _Number("ie.pps", None, r"\d{7}[A-Wa-w][A-IWa-iw]?", "pps"),
    "in_aadhaar": _Number(
        "in_.aadhaar", r"(?<!\d )[2-9]\d{3} \d{4} \d{4}(?! \d)", r"[2-9]\d{11}", "aadhaar|aadhar|uidai"
    ),
    "it_codicefiscale": _Number(
        "it.codicefiscale", r"[A-Za-z]{6}[0-9LMNP-Vlmnp-v]{2}[A-EHLMPRSTa-ehlmprst]\w{2}[A-Za-z]\w{3}[A-Za-z]"
    ),
    "kr_rrn": _Number("kr.rrn", r"\d{6}-[1-49]\d{6}"),
    "mx_curp": _Number("mx.curp", r"[A-Z]{4}\d{6}[HM][A-Z]{5}[0-9A-Z]\d"),
    "nl_bsn": _Number("nl.bsn", None, r"\d{4}\.?\d{2}\.?\d{3}", "bsn|burgerservice|sofi"),
    "no_fodselsnummer": _Number("no.fodselsnummer", r"\d{6} \d{5}", r"\d{11}", "f.dselsnummer|personnummer|fnr"),
    "pl_pesel": _Number("pl.pesel", None, r"\d{11}", "pesel"),
    "ro_cnp": _Number("ro.cnp", None, r"\d{13}", "cnp|cod numeric"),
    "se_personnummer": _Number("se.personnummer", r"(?:19|20)?\d{6}[-+]\d{4}"),
    "tr_tckimlik": _Number("tr.tckimlik", None, r"\d{11}", "kimlik|tckn"),
    "us_ssn": _Number("us.ssn", r"\d{3}-\d\d-\d{4}", r"\d{3} ?\d\d ?\d{4}", "ssn|social.?security"),
    "za_idnr": _Number("za.idnr", None, r"\d{13}", "id.?number|identity"),
}
"""Every national number that can be asked for, by country code and name."""


# What is before and behind a number: no letter, no digit, no sign of a longer number.
_BEFORE, _BEHIND = r"(?<![\w.+-])(?<!\d,)", r"(?![\w-])(?![.,]\d)"


@dataclass(frozen=True, slots=True)
class _Search:
    stdnum: ModuleType
    shape: re.Pattern[str] | None
    bare: re.Pattern[str] | None
    words: re.Pattern[str] | None

    @classmethod
    def of(cls, number: _Number) -> _Search:
        named = re.compile(rf"(?<![^\W_])(?:{number.words})(?![^\W\d_])", re.IGNORECASE) if number.words else None
        return cls(import_module(f"stdnum.{number.module}"), _behind(number.shape), _behind(number.bare), named)

    def at(self, text: str, start: int, name: str) -> Find | None:
        """Find a number that begins at `start`."""
        match = self.shape.match(text, start) if self.shape else None
        if match is None or not self.stdnum.is_valid(match[0]):
            match = self.bare.match(text, start) if self.bare and self._is_named(text, start, name) else None
        if match is None or not self.stdnum.is_valid(match[0]):
            return None
        return Find(start, match.end(), "national_id", self.stdnum.compact(match[0]).upper())

    def _is_named(self, text: str, start: int, name: str) -> bool:
        near = max(0, start - _NEAR_CHARS)
        return bool(self.words and (self.words.search(text, near, start) or self.words.search(_apart(name))))


def _behind(pattern: str | None) -> re.Pattern[str] | None:
    return re.compile(rf"(?:{pattern}){_BEHIND}") if pattern else None


def _apart(name: str) -> str:
    """Write `taxFileNumber` and `tax_file_number` as `tax File Number`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[_.-]", " ", name)


def national_ids(kinds: Sequence[str]) -> Detector:
    """Find the kinds of numbers asked for. Raises ValueError for a kind that is not known."""
    for kind in kinds:
        if kind not in KNOWN:
            raise ValueError(f"national_ids: '{kind}' is not known; known are {', '.join(KNOWN)}")
    numbers = [KNOWN[kind] for kind in kinds]
    searches = [_Search.of(number) for number in numbers]
    shapes = [shape for number in numbers for shape in (number.shape, number.bare) if shape]
    # One pass says where any of them may begin; only there are they tried one by one.
    anywhere = re.compile(rf"{_BEFORE}(?=(?:{'|'.join(shapes) or '(?!)'}){_BEHIND})")

    def detect(text: str, name: str) -> Iterator[Find]:
        end = 0
        for place in anywhere.finditer(text):
            finds = (search.at(text, place.start(), name) for search in searches if place.start() >= end)
            if find := next((find for find in finds if find), None):
                end = find.end
                yield find

    return detect
