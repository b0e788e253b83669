"""The stage `check`: object to a call in which a denied word occurs, and say where, not what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import texts
from folding import Folding
from penstock_plugin import Answer, Call, Config, Plugin
from texts import Region, Spot, spelled, spots
from words import Words, listed

plugin = Plugin()

FIELDS: Mapping[str, tuple[str, ...]] = {
    **texts.FIELDS,
    "resource_pre_fetch": ("uri", "metadata"),
    "http_pre_request": ("path", "headers"),
    "http_auth_resolve_user": ("headers",),
}
"""Nothing is changed here, so what names a resource or a request is looked at too."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`with`, ready for use. `max_details` bounds what a violation lists."""

    words: Words
    written: tuple[str, ...]
    region: Region
    keys: bool
    code: str
    reason: str
    reveal: bool
    max_details: int


@plugin.configure
def build_automaton(config: Config) -> Settings:
    """Build the automaton once for each distinct `with`."""
    written = listed(config.get("words", ()))
    folding = Folding(case_sensitive=config.get("case_sensitive", False), accents=config.get("accents", True))
    return Settings(
        words=Words(written, folding, whole_word=config.get("whole_word", True)),
        written=tuple(written),
        region=Region.of(config.get("fields", ()), config.get("skip", ()), FIELDS),
        keys=config.get("keys", True),
        code=config.get("code", "denied_word"),
        reason=config.get("reason", "the call holds a denied word"),
        reveal=config.get("reveal", False),
        max_details=config.get("max_details", 10),
    )


@plugin.stage("check")
def check(call: Call) -> Answer:
    """Deny at the first `max_details` places; a call without a denied word is allowed as it is."""
    settings: Settings = call.config
    places = list(islice(_places(call, settings), settings.max_details))
    out = {"matches": len(places)}
    if not places:
        return call.allow(out=out)
    return call.deny(
        settings.code,
        f"{settings.reason} at {places[0]['path']}",
        description="A word of the operator's list was found. The text itself is not repeated here.",
        details={"matches": places},
        out=out,
    )


def _places(call: Call, settings: Settings) -> Iterator[dict[str, object]]:
    for spot in spots(call.payload, FIELDS.get(call.hook, ()), settings.region, keys=settings.keys):
        for index in settings.words.found(spot.value):
            yield _place(spot, settings, index)


def _place(spot: Spot, settings: Settings, index: int) -> dict[str, object]:
    """Say where a match is. A member name that matched is not written out: it is the caller's text."""
    path = spot.path
    place: dict[str, object] = {"path": f"{spelled(path[:-1])} (a member name)" if spot.is_key else spelled(path)}
    if settings.reveal:
        place["word"] = settings.written[index]
    return place
