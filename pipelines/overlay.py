"""One object as each stage of a run sees it: what the run began with, plus the writes of the stage's ancestors."""

from __future__ import annotations

from pipelines.body import Body
from pipelines.merge import Contribution, Writes, join, same

__all__ = ["Overlay"]


class Overlay:
    """The writes of a run's stages over `base`. Made at the first write; until then everybody sees the base."""

    __slots__ = ("_afters", "_contributions", "_writers", "base")

    def __init__(self, base: Body) -> None:
        self.base = base
        self._writers = 0
        self._afters: dict[int, Body] = {}
        self._contributions: dict[int, Contribution] = {}

    def write(self, stage: int, ancestors: int, writes: Writes, after: Body) -> None:
        """Note that the stage with this index, which saw what `ancestors` left, turned that into `after`."""
        self._writers |= 1 << stage
        self._afters[stage] = after
        self._contributions[stage] = Contribution(stage, ancestors, writes)

    def seen_by(self, ancestors: int) -> Body:
        """The base plus the writes of these stages. Raises MergeConflict.

        While the writers stand in a row this is what the last of them left, as it is: nothing is decoded or joined.
        """
        writers = self._writers & ancestors
        if not writers:
            return self.base
        last = writers.bit_length() - 1
        if not writers & ~(self._contributions[last].ancestors | 1 << last):
            return self._afters[last]
        parts = [self._contributions[stage] for stage in sorted(self._contributions) if writers >> stage & 1]
        return Body.of(join(self.base.tree, parts))

    def final(self) -> Body:
        """What a last stage that needs every stage would see; the base itself where all was taken back."""
        final = self.seen_by(-1)
        took_turns = self._writers & (self._writers - 1)
        return self.base if took_turns and same(final.tree, self.base.tree) else final
