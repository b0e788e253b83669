"""A new plugin: three files whose test passes as they are. Writes nothing over what is there."""

from __future__ import annotations

import re
from pathlib import Path

from isolation.errors import IsolationError

__all__ = ["TemplateError", "write_template"]


class TemplateError(IsolationError):
    """A new plugin cannot be written there, or not under that name."""

    code = "penstock.template"
    hint = "choose another name, or a folder that does not exist yet"


def write_template(folder: Path, name: str) -> tuple[Path, ...]:
    """Write the files of a plugin called `name` into `folder` and return their paths.

    Raises TemplateError when the name is none or the folder holds anything.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise TemplateError(f"{name!r} is no name for a plugin: use a-z, 0-9 and _, and begin with a letter")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TemplateError(f"{folder} exists and is not an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for file, text in _FILES.items():
        path = folder / file
        path.write_text(text.replace("NAME", name.replace("_", "-")), encoding="utf-8")
        written.append(path)
    return tuple(written)


_MANIFEST = """\
[project]
name = "NAME"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = []                    # what the plugin needs, in its own environment

[dependency-groups]
dev = ["pytest>=8"]                  # what its tests need

[tool.penstock]
summary = "Mask listed words in arguments and results"

[tool.penstock.stages.mask]
effects = "none"                     # none | local | external: what it does besides answering
idempotent = true                    # calling it twice does no more than calling it once
outputs = { found = "int" }          # what other stages may read: stages.<id>.out.found

[tool.penstock.stages.mask.hooks]    # where it can be used, and what it may change there
tool_pre_invoke = { reads = ["payload.args"], writes = ["payload.args"] }
tool_post_invoke = { reads = ["payload.result"], writes = ["payload.result"] }

[tool.penstock.config-schema]        # JSON Schema of `with:` in the pipeline file
type = "object"
additionalProperties = false
properties.words = { type = "array", items = { type = "string", minLength = 1 } }
"""

_PLUGIN = '''\
"""Mask listed words in the arguments and the result of a tool."""

import re

from penstock_plugin import Plugin

plugin = Plugin()

# The member of the payload that the stage works on, for each hook of the manifest.
FIELDS = {"tool_pre_invoke": "args", "tool_post_invoke": "result"}


@plugin.configure
def compile_words(config):
    """Called once for each distinct `with`; what it returns is `call.config`."""
    words = sorted(config.get("words", []), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, words)), re.IGNORECASE) if words else None


@plugin.stage("mask")
def mask(call):
    """Called for every payload. None means: allow, unchanged."""
    field = FIELDS[call.hook]
    if call.config is None or field not in call.payload:
        return None
    masked, found = masked_in(call.payload[field], call.config)
    if not found:
        return None
    call.log.info("masked", extra={"found": found})
    return call.modify({**call.payload, field: masked}, out={"found": found})


def masked_in(value, pattern):
    """A copy of any JSON value with the words masked, and how many there were."""
    if isinstance(value, str):
        return pattern.subn(lambda match: "*" * len(match[0]), value)
    if isinstance(value, list):
        pairs = [masked_in(item, pattern) for item in value]
        return [item for item, _ in pairs], sum(found for _, found in pairs)
    if isinstance(value, dict):
        pairs = {key: masked_in(item, pattern) for key, item in value.items()}
        return {key: item for key, (item, _) in pairs.items()}, sum(found for _, found in pairs.values())
    return value, 0
'''

_TEST = '''\
"""Run with `penstock plugin test`; nothing of the host is needed."""

from penstock_plugin import testing
from plugin import plugin


def test_masks_a_listed_word_wherever_it_is():
    payload = {"name": "search", "args": {"q": ["My Secret plan", 7]}}
    outcome = testing.call(plugin, "mask", payload=payload, config={"words": ["secret"]})
    assert outcome.payload == {"name": "search", "args": {"q": ["My ****** plan", 7]}}
    assert outcome.out == {"found": 1}


def test_leaves_everything_else_alone():
    payload = {"name": "search", "args": {"q": "weather"}}
    outcome = testing.call(plugin, "mask", payload=payload, config={"words": ["secret"]})
    assert not outcome.changed
'''

_FILES = {"pyproject.toml": _MANIFEST, "plugin.py": _PLUGIN, "test_plugin.py": _TEST}
