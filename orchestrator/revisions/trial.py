"""A canary in service: a revision that takes part of the calls of some hooks, and is watched while it does."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping

from orchestrator.engine.hookcall import HookCall
from orchestrator.engine.traversal import Traversal
from orchestrator.engine.wiring import Serving
from orchestrator.faults import ABANDONED, SHUTDOWN
from orchestrator.reload.canary import CanaryJudge, CanaryPolicy, Side, chosen
from orchestrator.revisions.revision import Revision
from pipelines.expressions import ExpressionFailed
from pipelines.plan import Plan, SplitPlan

__all__ = ["Trial", "splits_of"]

_NOT_ITS_FAULT = (ABANDONED, SHUTDOWN)


def splits_of(plan: Plan) -> dict[str, SplitPlan]:
    """The split of each hook that has one; by lint, all of a hook are equal."""
    found = {}
    for hook, chain in plan.routes.items():
        for pipeline in chain:
            for stage in pipeline.stages:
                if stage.split is not None:
                    found[hook] = stage.split
    return found


class Trial:
    """`percent` (0 to 100) of the calls go to `revision`, always the same keys. `worse` is told why it must end.

    `reason` says why it was ended.
    """

    def __init__(
        self, revision: Revision, stable: int, splits: Mapping[str, SplitPlan], worse: Callable[[str], None]
    ) -> None:
        first = next(iter(splits.values()))
        self.reason = ""
        self.revision = revision
        self.percent = first.percent
        self.hooks = tuple(splits)
        self._stable = stable
        self._splits = splits
        self._worse = worse
        self._draw = random.Random().random
        self._salt = str(revision.number).encode()
        self._judge = CanaryJudge(
            CanaryPolicy(
                minimum_calls=first.abort.minimum_calls,
                error_factor=first.abort.error_factor,
                latency_factor=first.abort.latency_factor,
            )
        )

    def of(self, call: HookCall) -> Serving | None:
        """The canary's routes for a call that is among the chosen.

        Where the key cannot be worked out, it is not. An empty one names nobody: such calls are drawn one by one, or
        all of a gateway that sends no tenant would go the same way.
        """
        split = self._splits.get(call.hook)
        if split is None:
            return None
        try:
            key = split.key.evaluate({"payload": call.payload.tree, "context": call.context.tree})
        except ExpressionFailed:
            return None
        if not isinstance(key, str):
            return None
        if key:
            taken = chosen(key.encode("utf-8", "surrogatepass"), self._salt, self.percent)
        else:
            taken = self._draw() * 100 < self.percent
        return self.revision.serving if taken else None

    def heard(self, run: Traversal) -> None:
        """Take in a run that is over."""
        if run.route.plan.hook.name not in self._splits or run.fault in _NOT_ITS_FAULT:
            return
        number = run.route.revision
        if number == self.revision.number:
            side = Side.CANARY
        elif number == self._stable:
            side = Side.STABLE
        else:
            return
        failed = run.fault is not None or any(one is not None and one.fault is not None for one in run.attempts)
        reason = self._judge.finished(side, failed=failed, seconds=run.ended - run.started)
        if reason:
            self._worse(reason)

    def counted(self) -> Iterator[tuple[str, int, int]]:
        """Each side with its calls so far, and how many of them failed."""
        yield from self._judge.counted()

    def record(self) -> dict[str, object]:
        """The JSON object of `status`."""
        return {
            "revision": self.revision.number,
            "percent": self.percent,
            "hooks": list(self.hooks),
            **self._judge.figures(),
        }
