"""A new plugin is small, passes its own test and keeps the protocol, as it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from isolation import authoring
from isolation.manifest import read_manifest
from isolation.template import TemplateError, write_template


def test_a_new_plugin_has_three_files_and_a_manifest_that_reads(tmp_path: Path) -> None:
    folder = tmp_path / "word_mask"
    written = write_template(folder, "word_mask")
    assert sorted(path.name for path in folder.iterdir()) == ["plugin.py", "pyproject.toml", "test_plugin.py"]
    assert sorted(written) == sorted(folder.iterdir())
    manifest = read_manifest(folder)
    assert (manifest.name, list(manifest.stages)) == ("word-mask", ["mask"])


@pytest.mark.parametrize("name", ["", "Word", "2words", "word-mask", "../word"])
def test_a_name_that_pipeline_files_cannot_write_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(TemplateError, match="no name for a plugin"):
        write_template(tmp_path / "new", name)
    assert not (tmp_path / "new").exists()


def test_nothing_is_written_over_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(TemplateError, match="not an empty folder"):
        write_template(tmp_path, "word_mask")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_its_own_test_passes_in_an_environment_that_is_not_in_its_folder(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Built once, found again the second time, and a test that fails is told by the status."""
    folder, store = tmp_path / "word_mask", tmp_path / "store"
    heard: list[str] = []
    write_template(folder, "word_mask")
    store.mkdir()
    manifest = read_manifest(folder)

    assert authoring.run_tests(manifest, ["-q"], store=store, heard=heard.append) == 0
    assert "2 passed" in capfd.readouterr().out
    assert heard
    heard.clear()

    plugin = folder / "plugin.py"
    plugin.write_text(plugin.read_text().replace('"*" * len', '"#" * len'))
    assert authoring.run_tests(manifest, ["-q"], store=store, heard=heard.append) == 1
    assert "1 failed, 1 passed" in capfd.readouterr().out
    assert heard == []
    assert sorted(path.name for path in folder.iterdir()) == ["plugin.py", "pyproject.toml", "test_plugin.py"]
