"""One holder at a time, whoever lets go when."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from isolation.runtime.penstock_plugin.keylock import KeyLock, path_of, sweep

ROUNDS = 3000


def test_no_two_hold_one_key_however_fast_it_changes_hands(tmp_path: Path) -> None:
    """The file is removed by each holder; whoever locks one that is gone holds nothing."""
    path = path_of(tmp_path, "k")
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        for _ in range(ROUNDS):
            lock = KeyLock(path)
            if lock.take(0.0):
                inside.append(number)
                os.sched_yield()
                most.append(len(inside))
                inside.remove(number)
                lock.release()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert not path.exists()


def test_keys_do_not_stand_in_each_others_way(tmp_path: Path) -> None:
    first, second, again = (KeyLock(path_of(tmp_path, key)) for key in "aba")
    assert first.take(0.0) and second.take(0.0) and not again.take(0.0)
    first.release()
    assert again.take(0.0)


def test_sweeping_removes_what_nobody_holds_and_nothing_else(tmp_path: Path) -> None:
    held = KeyLock(path_of(tmp_path, "held"))
    assert held.take(0.0)
    path_of(tmp_path, "left").touch()
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [path_of(tmp_path, "held")]
    assert not KeyLock(path_of(tmp_path, "held")).take(0.0)


def test_a_fork_of_the_holder_does_not_keep_the_key(tmp_path: Path) -> None:
    """A child that the author's code left behind has the descriptor, too."""
    lock = KeyLock(path_of(tmp_path, "k"))
    assert lock.take(0.0)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.read(reader, 1)
        os._exit(0)
    lock.release()
    assert KeyLock(path_of(tmp_path, "k")).take(0.0)
    os.write(writer, b"x")
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)
