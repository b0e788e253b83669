"""The tables of the pipeline file, and the page that is made from them."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from pipelines.file.reading import Log, Site
from pipelines.file.section import Record
from pipelines.file.source import parse
from pipelines.file.spec import FileSpec
from pipelines.file.stages import StageSpec
from pipelines.plan import Mode
from pipelines.problem import Mark

ROOT = Path(__file__).parents[3]


def read(text: str) -> tuple[object, list[str]]:
    """A section as read, and the codes of what is wrong with it."""
    tree, _ = parse(text.encode(), "f.yaml")
    assert tree is not None
    log = Log()
    return Record(StageSpec).read(tree, Site((), Mark("f.yaml")), log), [problem.code for problem in log.problems]


def test_keys_that_are_not_written_have_their_defaults() -> None:
    stage, problems = read("uses: pii/mask\n")
    assert isinstance(stage, StageSpec)
    assert not problems
    assert (stage.uses, stage.needs, stage.when, stage.mode, dict(stage.with_)) == ("pii/mask", (), None, None, {})


def test_a_misspelt_key_is_reported_and_read_as_what_was_meant() -> None:
    stage, problems = read("uses: pii/mask\nmoed: audit\n")
    assert isinstance(stage, StageSpec)
    assert (problems, stage.mode) == (["unknown-key"], Mode.AUDIT)


def test_what_is_wrong_leaves_the_rest_readable() -> None:
    stage, problems = read("uses: pii/mask\nmode: 3\ntimeout: 50\nneeds: [a, 7]\n")
    assert isinstance(stage, StageSpec)
    assert problems == ["wrong-type", "bad-unit", "wrong-type"]
    assert (stage.mode, stage.timeout, len(stage.needs)) == (None, None, 2)


def test_a_section_is_not_changed_after_it_was_read() -> None:
    stage, _ = read("uses: pii/mask\n")
    assert isinstance(stage, StageSpec)
    with pytest.raises(AttributeError):
        stage.uses = "x"


def test_the_page_of_the_file_is_the_one_the_tables_make() -> None:
    """`python docs/generate.py` writes it; every key of the file is in it."""
    made = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()["pipeline-file.md"]
    assert (ROOT / "docs" / "pipeline-file.md").read_text("utf-8") == made
    assert all(f"| `{name}`" in made for name in FileSpec.KEYS)


@pytest.mark.parametrize("key", ["retry", "breaker", "compensate"])
@pytest.mark.parametrize(("written", "near"), [("null", "none"), ("false", "none"), ("true", None), ("", None)])
def test_who_writes_false_or_null_where_none_belongs_is_told_so(key: str, written: str, near: str | None) -> None:
    tree, _ = parse(f"uses: pii/mask\n{key}: {written}\n".encode(), "f.yaml")
    assert tree is not None
    log = Log()
    Record(StageSpec).read(tree, Site((), Mark("f.yaml")), log)
    assert [(problem.code, problem.suggestion) for problem in log.problems] == [("wrong-type", near)]
