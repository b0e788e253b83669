"""Judging a machine that this one is not."""

from __future__ import annotations

import resource

import pytest

from orchestrator.doctor.finding import Level
from orchestrator.doctor.machine import judge_open_files, judge_platform


@pytest.mark.parametrize(
    ("system", "machine", "level"),
    [
        ("Linux", "x86_64", Level.OK),
        ("Linux", "aarch64", Level.OK),
        ("Linux", "riscv64", Level.WARNING),
        ("Darwin", "arm64", Level.WARNING),
        ("Windows", "AMD64", Level.ERROR),
    ],
)
def test_platforms_are_judged_as_promised(system: str, machine: str, level: Level) -> None:
    finding = judge_platform(system, machine, "1.0")
    assert finding.level is level
    assert bool(finding.remedy) == (level is not Level.OK)


def test_few_open_files_are_a_warning_with_the_way_out() -> None:
    assert judge_open_files(256, 4096).remedy == "raise it: `ulimit -n 1024`"
    assert judge_open_files(256, 512).remedy == "raise the hard limit of open files"
    assert judge_open_files(resource.RLIM_INFINITY, resource.RLIM_INFINITY).level is Level.OK
