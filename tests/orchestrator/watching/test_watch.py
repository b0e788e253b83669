"""Something that is watched changed: real files, changed as editors, git, deployments and people change them."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from observing import WAIT_SECONDS, Armings, Reader, content, places, run, save, until, watching

from isolation.store.folder import take_picture
from orchestrator.watching import Watch
from orchestrator.watching.lookout import Ears, Pace, listen

NOBODY = 65534

FEW = 4
"""How many calls a burst may lead to, on a machine that is busy with something else as well."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A pipeline file."""
    made = tmp_path / "pipeline.yaml"
    made.write_text("first")
    return made


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A plugin's folder."""
    made = tmp_path / "plugins" / "pii"
    (made / "pkg").mkdir(parents=True)
    (made / "pyproject.toml").write_text("[project]")
    (made / "pkg" / "mask.py").write_text("first")
    return made


# When it calls.


def test_a_burst_of_saves_is_told_few_times_and_after_the_last(file: Path) -> None:
    """However many writes come one after the other."""

    async def main() -> None:
        reader = Reader(places([file]))
        async with watching(reader.watched, reader):
            for number in range(200):
                save(file, f"save {number}")
            await reader.until_up_to_date()
            assert reader.seen[-1] == {file: b"save 199"}
            assert len(reader.told) <= FEW
            assert reader.all_told == {file}

    run(main())


def test_what_changes_during_a_call_leads_to_one_more_and_never_to_two_at_once(file: Path, plugin: Path) -> None:
    """Changes are gathered while the reader is busy; only the last may have come too late for the one call."""
    waves = 3 * FEW

    async def main() -> None:
        reader = Reader(places([file], [plugin]))
        armings = Armings()
        leave = asyncio.Event()
        reader.gate = leave.wait
        async with watching(reader.watched, reader, arming=armings):
            save(file, "second")
            await reader.until_told(file)
            for number in range(waves):
                (plugin / "pkg" / f"more{number}.py").write_text("more")
                await armings.more(1)  # so it looks again
            assert len(reader.told) == 1
            reader.gate = None
            leave.set()
            every = {plugin / "pkg" / f"more{number}.py" for number in range(waves)}
            await reader.until(lambda: every <= reader.all_told)
            assert len(reader.told) <= FEW

    run(main())


def test_nothing_is_told_of_what_was_there(file: Path, plugin: Path) -> None:
    """What was read after it was written is no news; the first call is for the first change."""

    async def main() -> None:
        reader = Reader(places([file], [plugin]))
        async with watching(reader.watched, reader):
            save(file, "second")
            await reader.until_up_to_date()
            assert reader.told[0] == {file}

    run(main())


# How files are saved.


def _in_place(file: Path) -> None:
    file.write_text("second")


def _renamed_over(file: Path) -> None:
    (file.parent / ".pipeline.tmp").write_text("second")
    (file.parent / ".pipeline.tmp").rename(file)


def _backed_up(file: Path) -> None:
    """Save as vim does with `backupcopy=no`: try whether the folder is writable, move away, write anew, delete."""
    (file.parent / "4913").touch()
    (file.parent / "4913").unlink()
    (file.parent / f".{file.name}.swp").write_text("swap")
    file.rename(f"{file}~")
    file.write_text("second")
    Path(f"{file}~").unlink()


def _deleted_first(file: Path) -> None:
    file.unlink()
    file.write_text("second")


def _locked(file: Path) -> None:
    """Save as Emacs does: a lock that is a link to nowhere, a backup, the file in place."""
    lock = file.parent / f".#{file.name}"
    lock.symlink_to("user@host.1:2")
    shutil.copy2(file, f"{file}~")
    file.write_text("second")
    lock.unlink()


def _with_the_old_time(file: Path) -> None:
    before = file.stat()
    file.write_text("secnd")  # as long as "first"
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "save",
    [_in_place, _renamed_over, _backed_up, _deleted_first, _locked, _with_the_old_time],
    ids=lambda s: s.__name__,
)
@pytest.mark.parametrize("where", ["alone", "in a plugin"])
def test_a_save_is_seen_however_an_editor_does_it(
    file: Path, plugin: Path, save: Callable[[Path], None], where: str
) -> None:
    """Twice, because the first leaves another inode behind. What else the editor leaves is not told."""
    target = file if where == "alone" else plugin / "pkg" / "mask.py"

    async def main() -> None:
        reader = Reader(places([file], [plugin]))
        async with watching(reader.watched, reader):
            for text in (b"", b"first"):
                save(target)
                await reader.until_up_to_date()
                target.write_bytes(text)
                await reader.until_up_to_date()
            assert reader.all_told == {target}

    run(main())


def test_a_file_that_is_missing_for_a_moment_is_not_told_as_missing(file: Path) -> None:
    """However long the moment is, within a bound; here the lookout looked while it was missing."""

    async def main() -> None:
        reader = Reader(places([file]))
        armings = Armings()
        pace = Pace(absence_seconds=WAIT_SECONDS, patience_seconds=WAIT_SECONDS)
        async with watching(reader.watched, reader, arming=armings, pace=pace):
            os.unlink(file)
            await armings.more(3)
            save(file, "second")
            await reader.until_up_to_date()
            assert reader.seen == [{file: b"second"}]

    run(main())


def test_a_file_is_seen_to_go_and_to_come(tmp_path: Path) -> None:
    """Also where its folder is not there yet."""
    secret = tmp_path / "run" / "secrets" / "token"

    async def main() -> None:
        reader = Reader(places([secret]))
        async with watching(reader.watched, reader):
            for _ in range(2):
                secret.parent.mkdir(parents=True)
                secret.write_text("s3cret")
                await reader.until_up_to_date()
                assert reader.seen[-1] == {secret: b"s3cret"}
                shutil.rmtree(secret.parent.parent)
                await reader.until_up_to_date()
                assert reader.seen[-1] == {secret: None}

    run(main())


def test_a_file_that_is_made_executable_is_told(plugin: Path) -> None:
    """A snapshot holds that."""

    async def main() -> None:
        reader = Reader(places([], [plugin]))
        async with watching(reader.watched, reader):
            (plugin / "pyproject.toml").chmod(0o755)
            await reader.until_up_to_date()
            assert reader.all_told == {plugin / "pyproject.toml"}

    run(main())


# Folders.


def test_a_plugin_folder_removed_and_made_again_is_watched_as_before(plugin: Path) -> None:
    """With its subfolders, and also when the new one bears the inode of the old."""

    async def main() -> None:
        reader = Reader(places([], [plugin]))
        async with watching(reader.watched, reader):
            for number in range(3):
                shutil.rmtree(plugin)
                (plugin / "pkg").mkdir(parents=True)
                (plugin / "pkg" / "mask.py").write_text(f"anew {number}")
                await reader.until_up_to_date()
                (plugin / "pkg" / "mask.py").write_text(f"changed {number}")
                await reader.until_up_to_date()
            shutil.rmtree(plugin.parent)
            await reader.until_up_to_date()
            assert reader.seen[-1] == {plugin: None}
            assert plugin in reader.told[-1]

    run(main())


def test_files_in_folders_that_are_new_are_watched(plugin: Path) -> None:
    """However deep, and though they came faster than anybody could listen to them."""

    async def main() -> None:
        reader = Reader(places([], [plugin]))
        async with watching(reader.watched, reader):
            deep = plugin / "a" / "b" / "c"
            deep.mkdir(parents=True)
            (deep / "new.py").write_text("first")
            await reader.until_up_to_date()
            (deep / "new.py").write_text("second")
            await reader.until_up_to_date()
            assert reader.all_told == {deep / "new.py"}

    run(main())


def test_a_folder_above_that_is_replaced_is_noticed(tmp_path: Path) -> None:
    """As by a fresh clone beside the old one."""
    here, fresh = tmp_path / "work" / "project", tmp_path / "work" / "fresh"
    for folder, text in ((here, "old"), (fresh, "new")):
        (folder / "conf").mkdir(parents=True)
        (folder / "conf" / "pipeline.yaml").write_text(text)
    file = here / "conf" / "pipeline.yaml"

    async def main() -> None:
        reader = Reader(places([file]))
        async with watching(reader.watched, reader):
            here.rename(tmp_path / "work" / "gone")
            fresh.rename(here)
            await reader.until_up_to_date()
            assert reader.seen[-1] == {file: b"new"}
            save(file, "newer")
            await reader.until_up_to_date()

    run(main())


def test_a_git_checkout_is_told_as_a_whole(tmp_path: Path) -> None:
    """Many files in many folders at once, some of which are new and some gone."""
    repository = tmp_path / "repository"
    file, plugin = repository / "pipeline.yaml", repository / "plugins" / "pii"

    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b.example", "-C", str(repository), *arguments],
            check=True,
            capture_output=True,
        )

    def commit(branch: str, folders: range) -> None:
        shutil.rmtree(plugin, ignore_errors=True)
        for folder in folders:
            (plugin / f"pkg{folder}").mkdir(parents=True)
            for number in range(20):
                (plugin / f"pkg{folder}" / f"m{number}.py").write_text(f"{branch} {number}")
        save(file, branch)
        git("checkout", "-b", branch)
        git("add", "-A")
        git("commit", "-m", branch)

    repository.mkdir()
    git("init")
    commit("one", range(8))
    commit("two", range(4, 12))

    async def main() -> None:
        reader = Reader(places([file], [plugin]))
        async with watching(reader.watched, reader):
            for branch in ("one", "two", "one"):
                calls = len(reader.told)
                await asyncio.to_thread(git, "checkout", branch)
                await reader.until_up_to_date()
                assert len(reader.told) - calls <= FEW
                assert file in reader.all_told
                assert not any(".git" in path.parts for path in reader.all_told)

    run(main())


# Links.


def _swap(link: Path, target: str) -> None:
    """Let a link lead elsewhere in one step, as deployments do."""
    beside = link.with_name(f"{link.name}.new")
    beside.symlink_to(target)
    beside.rename(link)


def test_a_swapped_link_on_the_way_is_noticed_and_then_the_new_target_is_watched(tmp_path: Path) -> None:
    """`current` leads to a release; files and plugins lie below it."""
    for release in ("41", "42"):
        folder = tmp_path / "releases" / release
        (folder / "plugins" / "pii").mkdir(parents=True)
        (folder / "pipeline.yaml").write_text(release)
        (folder / "plugins" / "pii" / "mask.py").write_text(release)
    current = tmp_path / "current"
    current.symlink_to("releases/41")
    file, plugin = current / "pipeline.yaml", current / "plugins" / "pii"

    async def main() -> None:
        reader = Reader(places([file], [plugin]))
        async with watching(reader.watched, reader):
            _swap(current, "releases/42")
            await reader.until_up_to_date()
            assert reader.seen[-1][file] == b"42"
            assert reader.all_told == {file, plugin / "mask.py"}

            reader.told.clear()
            (tmp_path / "releases" / "41" / "pipeline.yaml").write_text("nobody's")
            (tmp_path / "releases" / "42" / "plugins" / "pii" / "mask.py").write_text("changed")
            await reader.until_up_to_date()
            assert reader.all_told == {plugin / "mask.py"}

            _swap(current, str(tmp_path / "releases" / "41"))  # an absolute target this time
            await reader.until_up_to_date()
            assert reader.seen[-1][file] == b"nobody's"

    run(main())


def test_links_to_links_are_followed_to_the_end(tmp_path: Path) -> None:
    """Each of them may be swapped; one that leads to itself leads nowhere."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "inner").symlink_to("a")
    (tmp_path / "outer").symlink_to("./b/../inner/file")
    file = tmp_path / "outer"

    async def main() -> None:
        reader = Reader(places([file]))
        async with watching(reader.watched, reader):
            _swap(tmp_path / "inner", "b")
            await reader.until_up_to_date()
            assert reader.seen[-1] == {file: b"b"}
            _swap(file, "outer")
            await reader.until_up_to_date()
            assert reader.seen[-1] == {file: None}
            _swap(file, "a/file")
            await reader.until_up_to_date()
            assert reader.seen[-1] == {file: b"a"}

    run(main())


def test_a_config_map_is_watched_through_its_data_link(tmp_path: Path) -> None:
    """Kubernetes makes a folder with the new content, and swaps `..data` to it."""
    mount = tmp_path / "etc"
    mount.mkdir()

    def publish(number: int) -> None:
        folder = mount / f"..2026_{number}"
        folder.mkdir()
        (folder / "pipeline.yaml").write_text(f"version {number}")
        _swap(mount / "..data", folder.name)
        if number > 1:
            shutil.rmtree(mount / f"..2026_{number - 1}")

    publish(1)
    (mount / "pipeline.yaml").symlink_to("..data/pipeline.yaml")
    file = mount / "pipeline.yaml"

    async def main() -> None:
        reader = Reader(places([file]))
        async with watching(reader.watched, reader):
            for number in (2, 3, 4):
                publish(number)
                await reader.until_up_to_date()
                assert reader.seen[-1] == {file: f"version {number}".encode()}

    run(main())


def test_a_plugin_folder_may_be_a_link(tmp_path: Path, plugin: Path) -> None:
    """What it leads to is watched; swapping it is a change of all that differs."""
    other = tmp_path / "other"
    shutil.copytree(plugin, other)
    link = tmp_path / "linked"
    link.symlink_to(plugin)

    async def main() -> None:
        reader = Reader(places([], [link]))
        async with watching(reader.watched, reader):
            (plugin / "pkg" / "mask.py").write_text("second")
            await reader.until_up_to_date()
            assert reader.all_told == {link / "pkg" / "mask.py"}
            _swap(link, "other")
            await reader.until_up_to_date()
            (other / "pkg" / "mask.py").write_text("third")
            await reader.until_up_to_date()

    run(main())


# What does not matter.


@pytest.mark.parametrize(
    "name",
    [
        "__pycache__/mask.pyc",
        "mask.pyc",
        ".git/index",
        ".venv/bin/python",
        ".mask.py.swp",
        "mask.py~",
        ".#mask.py",
        "env/lib/site.py",
        "tests/test_mask.py",
        "pkg/tests/data.py",
        "pkg/.venv/x",
        "4913",
        ".env",
        "pkg/a.so",
    ],
)
def test_exactly_what_a_snapshot_holds_is_told(plugin: Path, name: str) -> None:
    """The store's own rule decides. `env` is an environment."""
    (plugin / "env").mkdir()
    (plugin / "env" / "pyvenv.cfg").touch()
    changed, last = plugin / name, plugin / "pyproject.toml"

    async def main() -> None:
        reader = Reader(places([], [plugin]))
        async with watching(reader.watched, reader):
            changed.parent.mkdir(exist_ok=True, parents=True)
            changed.write_text("new")
            last.write_text("changed")
            await reader.until_told(last)
            held = {plugin / entry.name for entry in take_picture(plugin).entries}
            await reader.until(lambda: reader.all_told == {last} | ({changed} & held))

    run(main())


def test_trees_above_and_beside_what_is_watched_are_left_alone(tmp_path: Path, file: Path, plugin: Path) -> None:
    """A pipeline file in a home folder must not cost a watch for every folder there."""
    for folder in (tmp_path / "music" / "loud", plugin / ".venv" / "lib", plugin / "__pycache__"):
        folder.mkdir(parents=True)

    async def main() -> None:
        reader = Reader(places([file], [plugin]))
        armings = Armings()
        async with watching(reader.watched, reader, arming=armings) as watch:
            (tmp_path / "music" / "loud" / "song").touch()
            (tmp_path / "notes.txt").write_text("not ours")
            save(file, "second")
            await reader.until_up_to_date()
            assert reader.all_told == {file}
            expected = {*plugin.parents, plugin, plugin / "pkg"}
            assert {Path(folder) for folder in armings.folders[-1]} == expected
            assert watch.watched_folders == len(expected)

    run(main())


# What is lost.


def test_a_change_while_the_watches_are_set_is_found(file: Path, plugin: Path) -> None:
    """When nobody hears of it: between the old watches and the new ones. It is seen."""
    unheard: list[str] = []

    def write() -> None:
        if unheard:
            save(file, unheard.pop())

    async def main() -> None:
        reader = Reader(places([file], [plugin]))
        async with watching(reader.watched, reader, arming=Armings(write)):
            for number in range(3):
                unheard.append(f"unheard {number}")
                (plugin / "pkg" / "mask.py").write_text(f"heard {number}")  # so the watches are set anew
                await reader.until_told(file)  # having read it in time would not be enough
                reader.told.clear()

    run(main())


class Deaf:
    """Ears of a file system that tells nothing, as those of networks do."""

    def watch(
        self, _debounce_ms: int, _step_ms: int, timeout_ms: int, stop: threading.Event
    ) -> set[tuple[int, str]] | str:
        """Wait for the end of the time."""
        return "stop" if stop.wait(timeout_ms / 1000) else "timeout"

    def close(self) -> None:
        """There is nothing to close."""


def test_what_the_kernel_never_tells_is_found_by_looking(file: Path) -> None:
    """Now and then it looks, whatever it hears."""

    async def main() -> None:
        reader = Reader(places([file]))
        pace = Pace(look_seconds=0.05)
        async with watching(reader.watched, reader, arming=lambda _: Deaf(), pace=pace) as watch:
            save(file, "second")
            await reader.until_up_to_date()
            assert watch.polling is None

    run(main())


def test_what_was_touched_after_it_was_read_is_told_once_it_is_watched(
    tmp_path: Path, file: Path, plugin: Path
) -> None:
    """Whoever reads and then watches loses nothing in between; what was old when it was read is no news."""
    old, touched, gone = tmp_path / "old.txt", tmp_path / "touched.txt", tmp_path / "a" / "gone.txt"
    gone.parent.mkdir()
    for each in (old, touched, gone):
        each.write_text("first")

    async def main() -> None:
        reader = Reader(places([file]))
        start = time.time()
        await until(lambda: time.time() > start + 0.1)  # the clock of files ticks
        async with watching(reader.watched, reader) as watch:
            since = time.time()
            touched.write_text("second")
            gone.unlink()
            (plugin / "pkg" / "mask.py").unlink()
            reader.watched = places([file, old, touched, gone], [plugin])
            watch.look_at(reader.watched, read_since=since)
            await reader.until(lambda: reader.all_told == {touched, gone, plugin})

    run(main())


def test_a_reader_may_say_what_to_watch_while_it_is_called(file: Path, plugin: Path) -> None:
    """As a reload does that finds another plugin in the file; what it drops is watched no more."""

    async def main() -> None:
        reader = Reader(places([file], []))
        async with watching(reader.watched, reader) as watch:

            async def add() -> None:
                reader.watched = places([file], [plugin])
                watch.look_at(reader.watched)

            async def drop() -> None:
                reader.watched = places([], [plugin])
                watch.look_at(reader.watched)

            reader.gate = add
            save(file, "second")
            await reader.until_told(file)
            (plugin / "pkg" / "mask.py").write_text("second")
            await reader.until_told(plugin / "pkg" / "mask.py")

            reader.gate = drop
            save(file, "third")
            await reader.until(lambda: not reader.watched.files)
            reader.gate = None
            reader.told.clear()
            save(file, "fourth")
            (plugin / "pyproject.toml").write_text("second")
            await reader.until_told(plugin / "pyproject.toml")
            assert file not in reader.all_told

    run(main())


# What goes wrong.


@contextmanager
def _free_descriptors(count: int) -> Iterator[None]:
    """Leave this process so many descriptors, and no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    listed = [int(name) for name in os.listdir("/proc/self/fd")]
    used = {one for one in listed if os.path.lexists(f"/proc/self/fd/{one}")}  # less the one that listed them
    limit = max(n for n in range(max(used) + count + 2) if n - sum(one < n for one in used) == count)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_where_the_kernel_gives_no_watches_it_polls_and_says_so(
    file: Path, plugin: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Here because there are no descriptors left for them; nothing is missed, and it hears again when it can."""

    async def main() -> None:
        reader = Reader(places([file], [plugin]))
        pace = Pace(poll_seconds=0.05, arm_seconds=0.2)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with _free_descriptors(2):
            async with watching(reader.watched, reader, pace=pace) as watch:
                assert watch.polling is not None
                os.utime(file)
                os.utime(plugin / "pkg" / "mask.py")
                await reader.until(lambda: reader.all_told == {file, plugin / "pkg" / "mask.py"})
                assert "Too many open files" in watch.polling
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                await until(lambda: watch.polling is None)
                save(file, "heard")
                await reader.until_up_to_date()

    with caplog.at_level(logging.INFO, "penstock.watch"):
        run(main())
    assert [record.message for record in caplog.records] == ["watch.polling", "watch.hears_again"]


def test_listening_fails_where_it_would_hear_nothing(tmp_path: Path) -> None:
    """watchfiles can be told to ignore errors, and then ignores also that there are no more watches."""
    with pytest.raises(FileNotFoundError):
        listen([str(tmp_path), str(tmp_path / "gone")])


@contextmanager
def _as_nobody(folder: Path) -> Iterator[None]:
    """Be somebody whom permissions bind, and own a folder. Who is not root is that already."""
    user = os.geteuid()
    if user == 0:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_folder_above_that_may_only_be_passed_through_is_no_hindrance() -> None:
    """As /home often is."""
    with tempfile.TemporaryDirectory() as root, _as_nobody(Path(root)):
        home = Path(root) / "home"
        file = home / "conf" / "pipeline.yaml"
        file.parent.mkdir(parents=True)
        file.write_text("first")
        home.chmod(0o311)

        async def main() -> None:
            reader = Reader(places([file]))
            async with watching(reader.watched, reader) as watch:
                save(file, "second")
                await reader.until_up_to_date()
                assert watch.polling is None

        try:
            run(main())
        finally:
            home.chmod(0o700)


def test_a_name_that_is_no_text_costs_the_hearing_and_is_told_all_the_same(file: Path, plugin: Path) -> None:
    """watchfiles cannot tell of it."""
    odd = Path(os.fsdecode(os.fsencode(plugin) + b"/pkg/\xff.py"))

    async def main() -> None:
        reader = Reader(places([file], [plugin]))
        pace = Pace(poll_seconds=0.05, arm_seconds=0.05)
        async with watching(reader.watched, reader, pace=pace):
            save(odd, "new")
            await reader.until_up_to_date()
            save(file, "second")
            await reader.until_up_to_date()
            assert reader.all_told == {odd, file}

    run(main())


@pytest.mark.parametrize(
    "error", [OSError(28, "OS file watch limit reached"), RuntimeError("an inner error"), ZeroDivisionError("a bug")]
)
def test_whatever_fails_while_it_listens_makes_it_poll(file: Path, error: Exception) -> None:
    """The thread lives on, and the host with it."""

    def refuse(_: list[str]) -> Ears:
        raise error

    async def main() -> None:
        reader = Reader(places([file]))
        async with watching(reader.watched, reader, pace=Pace(poll_seconds=0.05), arming=refuse) as watch:
            await until(lambda: watch.polling is not None)
            save(file, "second")
            await reader.until_up_to_date()
            assert str(error) in str(watch.polling)

    run(main())


def test_a_look_that_is_impossible_is_not_taken_for_an_empty_place(plugin: Path) -> None:
    """Without descriptors no folder can be listed; that does not mean that there is nothing in it."""

    def refuse(_: list[str]) -> Ears:
        raise OSError("never heard")

    async def main() -> None:
        reader = Reader(places([], [plugin]))
        async with watching(reader.watched, reader, pace=Pace(poll_seconds=0.02), arming=refuse) as watch:
            with _free_descriptors(0):
                (plugin / "pyproject.toml").rename(plugin / "renamed.toml")
                await until(lambda: "Too many open files" in str(watch.polling))
            await reader.until_up_to_date()
            assert reader.all_told == {plugin / "pyproject.toml", plugin / "renamed.toml"}

    run(main())


def test_a_reader_that_fails_is_logged_and_told_of_the_next_change(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not of the same one again: what is broken stays so until somebody changes it."""

    async def bug() -> None:
        raise ZeroDivisionError("a bug")

    async def cancelled() -> None:
        raise asyncio.CancelledError

    async def main() -> None:
        reader = Reader(places([file]))
        async with watching(reader.watched, reader) as watch:
            for gate, failure in ((bug, "ZeroDivisionError: a bug"), (cancelled, "cancelled"), (None, None)):
                reader.gate = gate
                calls = len(reader.told)
                save(file, f"not yet good: {failure}")
                await reader.until_up_to_date()
                await until(lambda expected=failure: watch.failed == expected)  # type: ignore[misc]  # mypy infers no lambda with defaults
                assert len(reader.told) == calls + 1

    run(main())
    assert [record.message for record in caplog.records] == ["watch.failed", "watch.failed"]


# The end.


def _threads() -> set[str]:
    return set(os.listdir("/proc/self/task"))


def test_closing_cancels_the_call_and_leaves_no_thread_and_no_task(file: Path) -> None:
    """Also those that listen in watchfiles."""

    async def main() -> None:
        before = _threads()
        reader = Reader(places([file]))
        reader.gate = asyncio.Event().wait
        async with watching(reader.watched, reader):
            assert _threads() - before
            save(file, "second")
            await reader.until_told(file)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await until(lambda: _threads() <= before)

    run(main())


def test_a_reader_that_answers_its_cancellation_with_an_error_does_not_hold_up_the_end(file: Path) -> None:
    """The end comes all the same."""

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ZeroDivisionError("a bug in a clean-up")

    async def main() -> None:
        reader = Reader(places([file]))
        reader.gate = stubborn
        async with watching(reader.watched, reader):
            save(file, "second")
            await reader.until_told(file)

    run(main())


def test_what_is_raised_inside_comes_out_as_it_is(file: Path) -> None:
    """Not in a group of errors."""

    async def main() -> None:
        reader = Reader(places([file]))
        with pytest.raises(KeyError):
            async with Watch(reader.watched, reader):
                raise KeyError("ours")
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


def test_a_lookout_that_hangs_does_not_hold_up_the_end(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As on a file system whose server is gone: the end is bounded, and said."""
    freed = threading.Event()

    def hang(folders: list[str]) -> Ears:
        freed.wait()
        return listen(folders)

    async def main() -> None:
        reader = Reader(places([file]))
        async with Watch(reader.watched, reader, arming=hang, start_seconds=0.05, close_seconds=0.05):
            pass
        freed.set()

    run(main())
    assert [record.message for record in caplog.records] == ["watch.slow", "watch.hangs"]


def test_reading_what_is_watched_is_no_change(file: Path, plugin: Path) -> None:
    """A reload reads everything, and must not call itself."""

    async def main() -> None:
        reader = Reader(places([file], [plugin]))
        armings = Armings()
        async with watching(reader.watched, reader, arming=armings, pace=Pace(look_seconds=0.05)):
            content(reader.watched)
            await armings.more(3)
            assert reader.told == []

    run(main())
