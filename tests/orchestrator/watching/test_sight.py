"""What watched places look like, and which changes may matter to that."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.watching.sight import TICK_NS, Places, difference, look

LATER_NS = 2 * TICK_NS


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A plugin's folder."""
    made = tmp_path / "pii"
    (made / "pkg").mkdir(parents=True)
    (made / "pkg" / "mask.py").write_text("first")
    return made


def _changed_ns(path: Path) -> int:
    return os.lstat(path).st_ctime_ns


def test_what_changed_within_a_tick_will_look_different(plugin: Path) -> None:
    """The next write might bear the same time, so the sight says that it is young, and differs from a later one."""
    places = Places(folders=frozenset({plugin}))
    written_ns = _changed_ns(plugin / "pkg" / "mask.py")
    young, old = look(places, written_ns + TICK_NS // 2), look(places, written_ns + LATER_NS)
    assert young.is_young and not old.is_young
    assert difference(young.shown, old.shown, 0) == {plugin / "pkg" / "mask.py"}


def test_a_file_from_another_clock_is_not_young_for_ever(plugin: Path) -> None:
    """A server's clock may be ahead of ours."""
    places = Places(folders=frozenset({plugin}))
    assert not look(places, _changed_ns(plugin / "pkg" / "mask.py") - 3600 * 10**9).is_young


def test_a_place_not_seen_before_changed_if_it_was_touched_since(plugin: Path, tmp_path: Path) -> None:
    """Give or take a tick, because the clock of files is behind ours."""
    missing = tmp_path / "missing"
    places = Places(frozenset({missing}), frozenset({plugin}))
    written_ns = max(_changed_ns(plugin / "pkg" / "mask.py"), _changed_ns(tmp_path))
    shown = look(places, written_ns + LATER_NS).shown
    assert difference({}, shown, _changed_ns(plugin / "pkg" / "mask.py")) >= {plugin / "pkg" / "mask.py"}
    assert difference({}, shown, written_ns + LATER_NS) == set()
    assert missing in difference({}, shown, _changed_ns(tmp_path))


def test_a_place_no_longer_watched_did_not_change(plugin: Path) -> None:
    """It is nobody's."""
    shown = look(Places(folders=frozenset({plugin})), 0).shown
    assert difference(shown, {}, 0) == set()


def test_only_entries_on_the_way_and_what_snapshots_hold_concern_anybody(plugin: Path, tmp_path: Path) -> None:
    """By the names alone, since whatever is told of may be gone."""
    file = tmp_path / "conf" / "pipeline.yaml"
    sight = look(Places(frozenset({file}), frozenset({plugin})), 0)
    concerning = [plugin, plugin / "new.py", plugin / "pkg" / "tests", plugin / ".env", tmp_path / "conf", tmp_path]
    indifferent = [plugin / "tests", plugin / "x.pyc", plugin / ".venv", plugin / "pkg" / ".git", tmp_path / "beside"]
    assert [path for path in concerning if not sight.concerns(str(path))] == []
    assert [path for path in indifferent if sight.concerns(str(path))] == []


def test_a_path_leads_where_the_kernel_leads_it(tmp_path: Path) -> None:
    """`..` after a link is the parent of its target."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").write_text("in a")
    (tmp_path / "link").symlink_to("a/b")
    place = tmp_path / "link" / ".." / "file"
    straight = tmp_path / "a" / "file"
    shown = look(Places(frozenset({place, straight})), 0).shown
    assert not shown[place].is_missing
    assert shown[place].stamps == shown[straight].stamps


@pytest.mark.parametrize("where", ["file/below", "loop", "loop/x", "n" * 300, "nul\0", "none/../file"])
def test_a_path_that_leads_nowhere_is_missing(tmp_path: Path, where: str) -> None:
    """It is no error: it may lead somewhere later."""
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    place = tmp_path / where
    assert look(Places(frozenset({place})), 0).shown[place].is_missing


def test_an_empty_folder_is_not_a_missing_one(tmp_path: Path) -> None:
    """Nor is a file in its place either of them."""
    place = tmp_path / "plugin"
    places = Places(folders=frozenset({place}))
    missing = look(places, 0).shown
    place.mkdir()
    empty = look(places, 0).shown
    place.rmdir()
    place.touch()
    file = look(places, 0).shown
    assert difference(missing, empty, 0) == difference(empty, file, 0) == difference(missing, file, 0) == {place}


def test_a_folder_that_no_snapshot_would_take_is_not_walked_to_its_end(plugin: Path) -> None:
    """It is refused until it holds less, and then it is walked."""
    for folder in range(10):
        (plugin / f"pkg{folder}").mkdir()
        for number in range(10):
            (plugin / f"pkg{folder}" / f"m{number}.py").touch()
    places = Places(folders=frozenset({plugin}))
    assert len(look(places, 0).shown[plugin].stamps) > 100
    assert len(look(places, 0, max_walked=30).shown[plugin].stamps) < 50
