"""What an operator asks of a plugin's version."""

from __future__ import annotations

import pytest

from pipelines import versions


@pytest.mark.parametrize("constraint", [">=1.2,<2", "~=1.2", "==1.*", "!=1.3", "==1.2.3"])
def test_specifiers_of_pep_440_can_be_read(constraint: str) -> None:
    assert versions.unreadable(constraint) is None


@pytest.mark.parametrize(("constraint", "near"), [("1.2", "==1.2"), ("^1.2", None), ("latest", None), ("1.x", None)])
def test_what_is_none_is_refused_and_a_bare_version_understood(constraint: str, near: str | None) -> None:
    assert constraint in str(versions.unreadable(constraint))
    assert versions.meant(constraint) == near


def test_a_version_outside_is_refused_with_both_named() -> None:
    assert versions.refused("~=1.2", "2.1.0") == "the plugin has version 2.1.0, and '~=1.2' is asked for"
    assert versions.refused("~=1.2", "1.9") is None


def test_a_prerelease_in_the_folder_counts() -> None:
    assert versions.refused(">=1.2", "1.3.dev1") is None
    assert versions.refused("<2", "2.0rc1") is not None


def test_a_version_that_cannot_be_compared_is_refused() -> None:
    assert "'main'" in str(versions.refused(">=1", "main"))
