"""The Python twin of examples/perl-plugin, as far as the transcript goes."""

import re

from penstock_plugin import Plugin

plugin = Plugin()
KEY = re.compile(r"\bAKIA[0-9A-Z]{16}\b")
FIELDS = {"tool_pre_invoke": "args", "prompt_pre_fetch": "args", "tool_post_invoke": "result"}


@plugin.stage("secrets")
def secrets(call):
    field = FIELDS[call.hook]
    masked, found = masked_in(call.payload[field], call.config.get("replacement", "[secret]"))
    if not found:
        return None
    call.log.info("found aws_access_key")
    if call.config.get("action") == "deny":
        reason = "the call holds aws_access_key"
        return call.deny("secret_found", reason, details={"found": found}, out={"found": found})
    return call.patch({field: masked}, out={"found": found})


def masked_in(value, replacement):
    """The value as a merge patch gives it, and how many keys were in it."""
    if isinstance(value, str):
        return KEY.subn(replacement, value)
    if isinstance(value, dict):
        pairs = {name: masked_in(item, replacement) for name, item in value.items()}
        changed = {name: item for name, (item, found) in pairs.items() if found}
        return changed, sum(found for _, found in pairs.values())
    if isinstance(value, list):
        pairs = [masked_in(item, replacement) for item in value]
        merged = [{**old, **new} if isinstance(old, dict) else new for old, (new, _) in zip(value, pairs, strict=True)]
        return merged, sum(found for _, found in pairs)
    return value, 0
