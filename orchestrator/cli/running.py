"""The work of `penstock run`, once its options are read: start plugins, feed lines, print and count what comes."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orchestrator.cli.calls import Call, MalformedLine
from orchestrator.cli.feed import Outcome, feed
from orchestrator.cli.figures import Tally
from orchestrator.cli.lines import LineReader
from orchestrator.cli.loop import run_loop
from orchestrator.cli.opening import opened
from orchestrator.cli.output import Output
from orchestrator.cli.progress import Bars, terminal_watches
from orchestrator.door import DoorError

if TYPE_CHECKING:
    from orchestrator.loading import Loaded

__all__ = ["Wish", "perform"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator asked for. `descriptor` is the open input, `source` its name in messages."""

    descriptor: int
    source: str
    pipeline: str | None
    as_json: bool
    concurrency: int
    locked: bool
    offline: bool
    verbosity: int
    state: Path | None = None


def perform(loaded: Loaded, wish: Wish) -> tuple[Tally, float]:
    """Answer every line of the input and return the figures, with the seconds from the first line to the last.

    The records are printed when the wish is JSON; the figures never are.
    """
    with Bars(shown=terminal_watches(stdout_is_data=wish.as_json)) as bars:
        return run_loop(_Run(loaded, wish, bars).go())


class _Run:
    def __init__(self, loaded: Loaded, wish: Wish, bars: Bars) -> None:
        self._loaded = loaded
        self._wish = wish
        self._bars = bars
        self._tally = Tally()
        self._reader = LineReader(wish.descriptor)
        self._output = Output(sys.stdout.fileno()) if wish.as_json else None

    async def go(self) -> tuple[Tally, float]:
        wish = self._wish
        opening = opened(
            self._loaded,
            self._bars,
            locked=wish.locked,
            offline=wish.offline,
            verbosity=wish.verbosity,
            state=wish.state,
        )
        async with opening as orchestrator:
            self._orchestrator = orchestrator
            begun = time.monotonic()
            await feed(self._reader, list(self._loaded.plan.hooks), self._ask, self._take, wish.concurrency)
            return self._tally, time.monotonic() - begun

    async def _ask(self, call: Call) -> tuple[dict[str, object], ...]:
        try:
            result = await self._orchestrator.invoke(
                call.hook,
                call.payload,
                call.context,
                pipeline=self._wish.pipeline,
                idempotency_key=call.key,
            )
        except DoorError as error:
            raise MalformedLine(str(error)) from None
        if result.lasting:
            await self._orchestrator.conclude(result)
        return tuple(result.records)

    async def _take(self, outcome: Outcome) -> None:
        if outcome.refusal is not None:
            self._tally.malformed += 1
            self._bars.note(
                f"{self._wish.source}:{outcome.line}: {outcome.refusal}", tone="red", label="malformed line"
            )
            return
        self._tally.add(outcome.line, outcome.records)
        self._bars.lines(outcome.line, self._reader.position, self._reader.size)
        if self._output is not None:
            await self._output.write(b"".join(msgspec.json.encode(record) + b"\n" for record in outcome.records))
