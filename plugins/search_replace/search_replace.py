"""The stage `replace`: apply the operator's rules to every text of a call."""

from __future__ import annotations

from changes import patched, renamed
from penstock_plugin import Answer, Call, Config, Plugin
from rules import MAX_TEXT_CHARS, RuleError, Rules
from texts import FIELDS, spots

plugin = Plugin()


@plugin.configure
def compile_rules(config: Config) -> Rules:
    """Compile the rules once for each distinct `with`."""
    return Rules.of(config)


@plugin.stage("replace")
def replace(call: Call) -> Answer:
    """Answer with a patch of the texts that changed, or with the payload as it is."""
    rules: Rules = call.config
    total = size = 0
    values, names = [], []
    for spot in spots(call.payload, FIELDS.get(call.hook, ()), rules.region, keys=rules.keys):
        path = spot.path
        text, count = rules.apply(spot.value, path)
        total += count
        size += len(text) if count else 0
        if size > MAX_TEXT_CHARS:
            raise RuleError(f"the rules make texts longer than {MAX_TEXT_CHARS} characters together")
        if text != spot.value:
            (names if spot.is_key else values).append((path, text))
    out = {"replacements": total}
    if names:
        return call.modify(renamed(call.payload, values, names), out=out)
    return call.patch(patched(call.payload, values), out=out) if values else call.allow(out=out)
