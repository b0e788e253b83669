"""Sample payloads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.samples import BadSample, Sample, read_sample, sample_payload, samples_for
from pipelines.hooks import CATALOGUE


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_hook_has_a_sample_that_fits_it(name: str) -> None:
    assert CATALOGUE[name].violations_of(sample_payload(CATALOGUE[name])) == []


def test_a_stage_for_any_hook_is_tried_on_one() -> None:
    assert list(samples_for(None)) == ["tool_pre_invoke"]


def test_a_sample_of_an_author_takes_the_place_of_those_made() -> None:
    given = {"name": "buy"}
    assert samples_for(["tool_pre_invoke", "own"], given) == {"tool_pre_invoke": given, "own": given}


@pytest.mark.parametrize(
    ("text", "sample"),
    [
        ('{"payload": {"a": 1}, "input": {"b": 2}}', Sample({"a": 1}, {"b": 2})),
        ('{"input": {"b": 2}}', Sample(None, {"b": 2})),
    ],
)
def test_a_sample_is_read_from_a_file(tmp_path: Path, text: str, sample: Sample) -> None:
    (tmp_path / "sample.json").write_text(text)
    assert read_sample(tmp_path / "sample.json") == sample


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "must hold an object"),
        ("{}", "must hold an object"),
        ('{"paylod": {}}', "must hold an object"),
        ('{"payload": []}', "must be objects"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_holds_no_sample_is_named(tmp_path: Path, text: str | None, says: str) -> None:
    file = tmp_path / "sample.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(BadSample, match=f"{re.escape(str(file))}.* {says}"):
        read_sample(file)
