"""The stages `mask` (put something else in the place of personal data) and `find` (only count it)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from changes import patched, renamed
from finds import Find
from masking import KINDS, Masking
from penstock_plugin import Answer, Call, Config, Plugin
from texts import FIELDS, Region, Spot, spots

plugin = Plugin()


@dataclass(frozen=True, slots=True)
class Settings:
    """`with`, ready for use."""

    masking: Masking
    region: Region
    keys: bool


@plugin.configure
def read_settings(config: Config) -> Settings:
    """Prepare the detectors once for each distinct `with`."""
    region = Region.of(config.get("fields", ()), config.get("skip", ()), FIELDS)
    return Settings(Masking.of(config), region, config.get("keys", False))


@plugin.stage("mask")
def mask(call: Call) -> Answer:
    """Answer with a patch of the texts that changed, or with the payload as it is; `out` has the counts."""
    settings: Settings = call.config
    counts: Counter[str] = Counter()
    values, names = [], []
    for spot, finds in _finds(call, settings):
        counts.update(find.kind for find in finds)
        new = settings.masking.rewritten(str(spot.value), finds)
        (names if spot.is_key else values).append((spot.path, new))
    out = _out(counts)
    if names:
        return call.modify(renamed(call.payload, values, names), out=out)
    return call.patch(patched(call.payload, values), out=out) if values else call.allow(out=out)


@plugin.stage("find")
def find(call: Call) -> Answer:
    """Answer with the counts alone."""
    counts: Counter[str] = Counter()
    for _, finds in _finds(call, call.config):
        counts.update(find.kind for find in finds)
    return call.allow(out=_out(counts))


def _finds(call: Call, settings: Settings) -> Iterator[tuple[Spot, list[Find]]]:
    """Yield every place with personal data in it."""
    masking = settings.masking
    fields = FIELDS.get(call.hook, ())
    for spot in spots(call.payload, fields, settings.region, keys=settings.keys, numbers=masking.numbers):
        if isinstance(spot.value, int):
            number = masking.number(spot.value)
            finds = [number] if number else []
        else:
            finds = masking.finds(spot.value, spot.name)
        if finds:
            yield spot, finds


def _out(counts: Mapping[str, int]) -> dict[str, object]:
    return {"found": sum(counts.values()), **{kind: counts.get(kind, 0) for kind in KINDS}}
