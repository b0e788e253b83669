"""What subscribers hear."""

from __future__ import annotations

import logging

import pytest

from orchestrator.events import BreakerChanged, Event, Events

OPENED = BreakerChanged("shop@1/charge:steady", "closed", "open")
CLOSED = BreakerChanged("shop@1/charge:steady", "open", "closed")


def test_every_subscriber_hears_every_event_in_order() -> None:
    events = Events()
    first: list[Event] = []
    second: list[Event] = []
    events.subscribe(first.append)
    events.subscribe(second.append)
    events.publish(OPENED)
    events.publish(CLOSED)
    assert first == second == [OPENED, CLOSED]


def test_who_leaves_hears_no_more() -> None:
    events = Events()
    heard: list[Event] = []
    leave = events.subscribe(heard.append)
    assert events.heard
    leave()
    events.publish(OPENED)
    assert (heard, events.heard) == ([], False)


def test_who_leaves_while_an_event_is_told_costs_nobody_the_event() -> None:
    events = Events()
    heard: list[Event] = []
    leave = events.subscribe(lambda event: leave())
    events.subscribe(heard.append)
    events.publish(OPENED)
    events.publish(CLOSED)
    assert heard == [OPENED, CLOSED]


def test_what_a_subscriber_raises_is_logged_and_costs_no_other_its_event(caplog: pytest.LogCaptureFixture) -> None:
    events = Events()
    heard: list[Event] = []

    def fail(event: Event) -> None:
        raise ZeroDivisionError(event)

    events.subscribe(fail)
    events.subscribe(heard.append)
    with caplog.at_level(logging.ERROR, "penstock.events"):
        events.publish(OPENED)
    assert heard == [OPENED]
    assert [record.getMessage() for record in caplog.records] == ["event.subscriber_failed"]
