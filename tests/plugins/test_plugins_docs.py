"""The pages about the plugins say what manifests, schemas and code say."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import jsonschema_rs
import pytest

from isolation.manifest import read_manifest

ROOT = Path(__file__).parents[2]
PLUGINS = ("search_replace", "deny_filter", "pii_filter", "schema_guard", "attestation")
PAGES = runpy.run_path(str(ROOT / "docs" / "plugin_pages.py"))


def schema(name: str) -> dict[str, object]:
    document: dict[str, object] = json.loads((ROOT / "plugins" / name / "config.schema.json").read_text())
    return document


def test_the_page_of_plugins_is_up_to_date() -> None:
    assert (ROOT / "docs" / "plugins.md").read_text() == PAGES["plugins_page"]()


@pytest.mark.parametrize("name", PLUGINS)
def test_the_readme_of_a_plugin_is_up_to_date(name: str) -> None:
    text = (ROOT / "plugins" / name / "README.md").read_text()
    assert text == PAGES["readme"](name)
    assert PAGES["config_table"](name) in text


@pytest.mark.parametrize("name", PLUGINS)
def test_every_setting_has_a_description_a_type_and_a_fitting_default(name: str) -> None:
    document = schema(name)
    assert jsonschema_rs.meta.is_valid(document)
    assert document["additionalProperties"] is False
    for key, setting in document["properties"].items():  # type: ignore[attr-defined]  # an object, as checked above
        assert setting["description"].endswith((".", ")")), key
        if key in document.get("required", ()):  # type: ignore[operator]
            assert "default" not in setting
        else:
            jsonschema_rs.validate(setting, setting["default"])


@pytest.mark.parametrize("name", PLUGINS)
def test_the_code_reads_every_setting_with_the_default_of_the_schema(name: str) -> None:
    """A key that no line reads, or reads with another default, would make the table a lie."""
    files = (path for path in sorted((ROOT / "plugins" / name).rglob("*.py")) if "tests" not in path.parts)
    code = "".join(path.read_text() for path in files)
    read = set(re.findall(r"""(?:config|rule)(?:\.get\(|\[)["'](\w+)["']""", code))
    if name == "schema_guard":
        read |= set(re.findall(r'"(tools|results|prompts)"', code))
    assert set(schema(name)["properties"]) <= read  # type: ignore[call-overload]
    for key, default in re.findall(r'config\.get\("(\w+)", (True|False|"[^"]*"|\d+)\)', code):
        assert schema(name)["properties"][key]["default"] == eval(default), key  # type: ignore[index]


@pytest.mark.parametrize("file", ["texts.py", "changes.py", "tests/conftest.py"])
def test_files_that_lie_in_several_plugins_are_equal(file: str) -> None:
    """Each plugin is complete in itself, so what they share they share by copy."""
    copies = {path.read_text() for path in (ROOT / "plugins").glob(f"*/{file}")}
    assert len(copies) == 1


def test_the_key_of_the_certificate_that_is_shown_to_servers_can_be_handed_over_and_need_not() -> None:
    permissions = read_manifest(ROOT / "plugins" / "attestation").permissions
    assert (permissions.secrets, permissions.optional_secrets) == ((), ("client_key",))
    assert "the secret `client_key`" in str(schema("attestation")["properties"])
