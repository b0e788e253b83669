"""Writes docs/plugins.md and the tables in the plugins' READMEs: `python docs/plugin_pages.py`.

A test holds the pages equal to what this makes. Nothing of a plugin is imported: its manifest and its schema are data.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
NAMES = ("search_replace", "deny_filter", "pii_filter", "schema_guard", "attestation")

_HEAD = """\
# Plugins

<!-- Made by `python docs/plugin_pages.py` from the manifests and schemas in plugins/. -->

Four plugins come with Penstock. Each is a folder of its own with its own requirements, lock and tests, in no way
different from one that you write; a pipeline file names the folder as `source`. They walk nested values, look at the
members of a hook's payload that people and tools fill (`args` before a call, `result` after it), and answer a call
in which they find nothing with its payload untouched. Pictures in base64, the fixed words of MCP and credentials among
headers are not looked at.

"""


def plugins_page() -> str:
    """Render docs/plugins.md."""
    rows = "".join(_row(name, manifest(name)) for name in NAMES)
    overview = f"| plugin | what it does | stages | `out` |\n|---|---|---|---|\n{rows}\n"
    return _HEAD + overview + "\n".join("".join(_chapter(name)) for name in NAMES)


def readme(name: str) -> str:
    """Render a plugin's README: its own words, with the table between the two marks made anew."""
    text = (ROOT / "plugins" / name / "README.md").read_text(encoding="utf-8")
    made = f"<!-- config -->\n{config_table(name)}<!-- end -->"
    return re.sub(r"<!-- config -->\n.*?<!-- end -->", lambda _: made, text, flags=re.DOTALL)


def config_table(name: str) -> str:
    """Render what `with` may hold, one row a key."""
    rows = "".join(_settings(schema(name)))
    return f"| key | type | default | meaning |\n|---|---|---|---|\n{rows}"


def manifest(name: str) -> dict[str, Any]:
    """Read `[tool.penstock]`."""
    text = (ROOT / "plugins" / name / "pyproject.toml").read_text(encoding="utf-8")
    table: dict[str, Any] = tomllib.loads(text)["tool"]["penstock"]
    return table


def schema(name: str) -> dict[str, Any]:
    """Read the schema of `with`."""
    document: dict[str, Any] = json.loads((ROOT / "plugins" / name / "config.schema.json").read_text(encoding="utf-8"))
    return document


def _row(name: str, declared: Mapping[str, Any]) -> str:
    stages = ", ".join(f"`{stage}`" for stage in declared["stages"])
    outputs = {out: None for stage in declared["stages"].values() for out in stage["outputs"]}
    return f"| [`{name}`](#{name}) | {declared['summary']} | {stages} | {', '.join(f'`{out}`' for out in outputs)} |\n"


def _chapter(name: str) -> Iterator[str]:
    yield f"## {name}\n\n{manifest(name)['summary']}. Examples and limits: [README](../plugins/{name}/README.md).\n\n"
    yield config_table(name)
    for stage, declared in manifest(name)["stages"].items():
        hooks = ", ".join(f"`{hook}`" for hook in declared["hooks"])
        writes = any(use["writes"] for use in declared["hooks"].values())
        outputs = ", ".join(f"`{out}` ({kind})" for out, kind in declared["outputs"].items())
        reach = "changes what it reads" if writes else "only reads"
        yield f"\nStage `{stage}` {reach}. Puts out {outputs}. Hooks: {hooks}.\n"


def _settings(properties: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    required = properties.get("required", ())
    for key, value in properties["properties"].items():
        default = "(required)" if key in required else f"`{json.dumps(value['default'])}`"
        meaning = value.get("description", "").replace("|", "\\|")
        yield f"| `{prefix}{key}` | {_kind(value)} | {_shortened(default)} | {meaning} |\n"
        if "properties" in value.get("items", {}):
            yield from _settings(value["items"], f"{prefix}{key}[].")


def _kind(value: Mapping[str, Any]) -> str:
    if "enum" in value:
        return ", ".join(f"`{choice}`" for choice in value["enum"])
    if "anyOf" in value:
        return " or ".join(_kind(choice) for choice in value["anyOf"])
    if value["type"] != "array":
        return str(value["type"])
    items = value["items"]
    return f"array of {_kind(items)}" if len(items.get("enum", ())) <= 10 else "array of names"


def _shortened(default: str) -> str:
    return default if len(default) <= 120 else "those below"


def main() -> None:
    """Write every page."""
    (ROOT / "docs" / "plugins.md").write_text(plugins_page(), encoding="utf-8")
    for name in NAMES:
        (ROOT / "plugins" / name / "README.md").write_text(readme(name), encoding="utf-8")


if __name__ == "__main__":
    main()
