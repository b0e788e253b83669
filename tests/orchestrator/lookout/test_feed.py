"""A queue that never holds up its writers, and tells its reader what it missed."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.lookout.feed import Feed, Missed

WAIT_SECONDS = 20.0


def read(feed: Feed[int], count: int) -> list[int | Missed]:
    """The next `count` things that the reader is told."""

    async def go() -> list[int | Missed]:
        found: list[int | Missed] = []
        async with asyncio.timeout(WAIT_SECONDS):
            async for item in feed.read():
                found.append(item)
                if len(found) == count:
                    break
        return found

    return asyncio.run(go())


def test_what_does_not_fit_is_told_where_it_is_missing() -> None:
    feed = Feed[int](2, 1000)
    for number in range(5):
        feed.put(number, 1)
    assert read(feed, 3) == [0, 1, Missed(3)]
    feed.put(9, 1)
    assert read(feed, 1) == [9]


def test_bytes_are_bounded_as_items_are_and_one_item_always_fits() -> None:
    feed = Feed[int](100, 10)
    feed.put(1, 50)
    feed.put(2, 1)
    assert read(feed, 2) == [1, Missed(1)]


def test_whoever_counts_hears_of_each_item_that_is_lost() -> None:
    lost: list[None] = []
    feed = Feed[int](2, lost=lambda: lost.append(None))
    for number in range(5):
        feed.put(number)
    assert len(lost) == 3


def test_who_waits_is_told_as_soon_as_something_comes() -> None:
    async def go() -> int | Missed:
        feed = Feed[int](2, 10)
        waiting = asyncio.ensure_future(anext(feed.read()))
        await asyncio.sleep(0)
        feed.put(7, 1)
        async with asyncio.timeout(WAIT_SECONDS):
            return await waiting

    assert asyncio.run(go()) == 7


@given(st.lists(st.integers(0, 12), max_size=60), st.integers(1, 5), st.integers(1, 30))
def test_nothing_is_lost_without_a_word_and_nothing_comes_twice(sizes: list[int], items: int, most: int) -> None:
    """However it is bounded: what is read and what is told as missed are all that was put, in order."""
    feed = Feed[int](items, most)
    for number, size in enumerate(sizes):
        feed.put(number, size)
    feed.put(-1, 0)

    async def go() -> list[int | Missed]:
        found: list[int | Missed] = []
        told = 0
        async for item in feed.read():
            found.append(item)
            told += item.count if isinstance(item, Missed) else 1
            if told == len(sizes) + 1:
                break
        return found

    expected = 0
    for item in asyncio.run(go()):
        if isinstance(item, Missed):
            expected += item.count
        else:
            assert item in (expected, -1)
            expected += 1
