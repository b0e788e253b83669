"""Ids and calls: whatever is issued, settled and closed, every call is crossed off exactly once."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from isolation.protocol.ledger import Ledger, UnknownId


class LedgerModel(RuleBasedStateMachine):
    """A ledger beside a plain list of what is outstanding."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger[str]()
        self.open: list[tuple[int, str]] = []
        self.issued = 0

    @rule(entry=st.text(max_size=3))
    def issue(self, entry: str) -> None:
        number = self.ledger.issue(entry)
        self.issued += 1
        assert number == self.issued
        self.open.append((number, entry))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        number, entry = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        assert self.ledger.settle(number) == entry
        with pytest.raises(UnknownId, match="was answered before"):
            self.ledger.settle(number)

    @rule(ahead=st.integers(1, 2**70))
    def settle_what_was_never_asked(self, ahead: int) -> None:
        for number in (self.issued + ahead, 0, -ahead):
            with pytest.raises(UnknownId, match="was never asked"):
                self.ledger.settle(number)

    @rule()
    def close(self) -> None:
        assert self.ledger.close() == [entry for _, entry in self.open]
        self.open.clear()

    @invariant()
    def agrees_with_the_list(self) -> None:
        assert len(self.ledger) == len(self.open)
        assert list(self.ledger) == [entry for _, entry in self.open]
        assert self.ledger.oldest() == (self.open[0][1] if self.open else None)
        outstanding = {number for number, _ in self.open}
        assert all(self.ledger.holds(number) == (number in outstanding) for number in range(self.issued + 2))


TestLedger = LedgerModel.TestCase
