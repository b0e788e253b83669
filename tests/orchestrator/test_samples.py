"""Sample payloads."""

from __future__ import annotations

import pytest

from orchestrator.samples import sample_payload, samples_for
from pipelines.hooks import CATALOGUE


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_hook_has_a_sample_that_fits_it(name: str) -> None:
    assert CATALOGUE[name].violations_of(sample_payload(CATALOGUE[name])) == []


def test_a_stage_for_any_hook_is_tried_on_one() -> None:
    assert list(samples_for(None)) == ["tool_pre_invoke"]
