"""Whatever is done to files, folders and links, in whatever order and however fast: the last state is told."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from observing import Reader, places, run, watching

SEEDS = range(12)
BURSTS = 8
MAX_BURST = 8


class Vandal:
    """Does things to a small project: a release that a link leads to, files in it, a plugin, a plugin behind a link."""

    def __init__(self, root: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.root = root
        self.done: list[str] = []
        for release in ("41", "42"):
            self._fill(root / "releases" / release, release)
        (root / "current").symlink_to("releases/41")
        (root / "linked").symlink_to("current/plugins/b")
        current = root / "current"
        self.files = [current / "pipeline.yaml", current / "conf" / "words.txt", root / "absent" / "token"]
        self.folders = [current / "plugins" / "a", root / "linked"]

    def _fill(self, folder: Path, text: str) -> None:
        for name in ("pipeline.yaml", "conf/words.txt", "plugins/a/m.py", "plugins/a/pkg/n.py", "plugins/b/m.py"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)

    def act(self) -> None:
        """Do one thing. Where it cannot be done, nothing."""
        deeds = [self._write, self._write, self._write, self._replace, self._delete, self._delete_first, self._chmod]
        deeds += [self._swap, self._swap, self._remove_folder, self._move_folder, self._make_folder, self._fill_again]
        deed = self.random.choice(deeds)
        target = self._any_file()
        self.done.append(f"{deed.__name__} {target.relative_to(self.root)}")
        self._try(deed, target)

    def _try(self, deed: Callable[[Path], None], target: Path) -> None:
        try:
            deed(target)
        except (OSError, shutil.Error) as error:
            self.done[-1] += f": {type(error).__name__}"

    def _any_file(self) -> Path:
        plugin_files = [
            folder / name for folder in self.folders for name in ("m.py", "pkg/n.py", "pkg/deep/o.py", "__pycache__/p")
        ]
        return self.random.choice([*self.files, *plugin_files])

    def _text(self) -> str:
        return self.random.choice(["one", "two", "more than that"])

    def _write(self, target: Path) -> None:
        target.write_text(self._text())

    def _replace(self, target: Path) -> None:
        beside = target.with_name(f".{target.name}.new")
        beside.write_text(self._text())
        beside.rename(target)

    def _delete(self, target: Path) -> None:
        target.unlink()

    def _delete_first(self, target: Path) -> None:
        target.unlink()
        target.write_text(self._text())

    def _chmod(self, target: Path) -> None:
        target.chmod(self.random.choice([0o644, 0o755]))

    def _swap(self, target: Path) -> None:
        link, targets = self.random.choice(
            [
                ("current", ["releases/41", "releases/42", str(self.root / "releases" / "41"), "releases/none"]),
                ("linked", ["current/plugins/a", "current/plugins/b", "linked", "releases/42/plugins/b"]),
            ]
        )
        beside = self.root / f"{link}.new"
        beside.symlink_to(self.random.choice(targets))
        beside.rename(self.root / link)

    def _remove_folder(self, target: Path) -> None:
        shutil.rmtree(os.path.realpath(target.parent))

    def _move_folder(self, target: Path) -> None:
        """Put another folder in the place of one."""
        here, aside = Path(os.path.realpath(target.parent)), self.root / f"aside{len(self.done)}"
        here.rename(aside)
        if self.random.random() < 0.5:
            shutil.copytree(aside, here, symlinks=True)

    def _make_folder(self, target: Path) -> None:
        target.parent.mkdir(parents=True)
        target.write_text(self._text())

    def _fill_again(self, target: Path) -> None:
        self._fill(self.root / "releases" / self.random.choice(["41", "42"]), self._text())


@pytest.mark.parametrize("seed", SEEDS)
def test_the_last_state_is_told(tmp_path: Path, seed: int) -> None:
    """Bursts of changes, some so close that they are one, some while the reader reads."""
    vandal = Vandal(tmp_path, seed)

    async def main() -> None:
        reader = Reader(places(vandal.files, vandal.folders))
        async with watching(reader.watched, reader) as watch:
            for _ in range(BURSTS):
                for _ in range(vandal.random.randint(1, MAX_BURST)):
                    vandal.act()
                    if vandal.random.random() < 0.3:
                        await asyncio.sleep(vandal.random.random() * 0.1)
                if vandal.random.random() < 0.5 and reader.told:
                    await reader.until_up_to_date()
            # Something is different in any case, so that there is a call to wait for.
            vandal.act()
            vandal.files[2].parent.mkdir(exist_ok=True)
            vandal.files[2].write_text("the last")
            await reader.until_up_to_date()
            assert watch.polling is None

    try:
        run(main())
    finally:
        print(*vandal.done, sep="\n")  # shown when it fails
