"""Sealed for one place and one owner, and never twice the same."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.journal.cipher import DERIVED_MOST, NONCES_AT_ONCE, Cipher, NotOurs, new_key
from orchestrator.journal.places import event_place, run_place

OLD, NEW = new_key(os.urandom), new_key(os.urandom)


@given(st.text(max_size=5), st.binary(max_size=20), st.binary(max_size=200))
def test_what_was_sealed_is_opened_where_it_was_sealed(owner: str, place: bytes, body: bytes) -> None:
    """And nowhere else, nor by anybody else, nor with a bit changed."""
    cipher = Cipher((NEW, OLD), os.urandom)
    sealed = cipher.seal(owner, place, body)
    assert cipher.open(owner, place, sealed) == body
    changed = [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in (0, 5, len(sealed) - 1)]
    attempts = [(owner + "x", place, sealed), (owner, place + b"x", sealed), (owner, place, sealed[:-1])]
    for attempt in [*attempts, *((owner, place, bits) for bits in changed)]:
        with pytest.raises(NotOurs):
            cipher.open(*attempt)


def test_nothing_is_sealed_twice_alike() -> None:
    """However many nonces are drawn at once."""
    cipher = Cipher((NEW,), os.urandom)
    assert len({cipher.seal("r", b"p", b"body") for _ in range(3 * NONCES_AT_ONCE)}) == 3 * NONCES_AT_ONCE


def test_older_keys_open_and_the_newest_seals() -> None:
    """Until they are gone."""
    sealed = Cipher((OLD,), os.urandom).seal("r", b"p", b"body")
    cipher = Cipher((NEW, OLD), os.urandom)
    assert cipher.open("r", b"p", sealed) == b"body" and not cipher.is_newest(sealed)
    assert cipher.is_newest(cipher.seal("r", b"p", b"body"))
    cipher.renew((NEW,))
    with pytest.raises(NotOurs, match="does not hold its key"):
        cipher.open("r", b"p", sealed)


def test_more_owners_than_are_remembered_are_served() -> None:
    """Their keys are derived again."""
    cipher = Cipher((NEW,), os.urandom)
    sealed = cipher.seal("first", b"p", b"body")
    for number in range(DERIVED_MOST + 1):
        cipher.seal(str(number), b"p", b"")
    assert cipher.open("first", b"p", sealed) == b"body"


def test_a_key_does_not_show_its_secret() -> None:
    """Not in a traceback or a log."""
    assert NEW.secret.hex() not in repr(NEW) and repr(NEW.secret) not in repr(NEW)


def test_no_two_places_look_alike() -> None:
    """Whatever their texts hold."""
    events = [event_place(1, "ab", 1.0, b"c"), event_place(1, "a", 1.0, b"bc"), event_place(2, "ab", 1.0, b"c")]
    runs = [run_place(("a', 'b", "c")), run_place(("a", "b', 'c")), run_place(("a", None)), run_place(("a", "None"))]
    assert len({*events, *runs}) == 7
