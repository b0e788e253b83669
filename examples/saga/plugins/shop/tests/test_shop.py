"""Run with `penstock plugin test`; nothing of the host is needed."""

import json
import multiprocessing

import pytest
from penstock_plugin import Retryable, Undone, testing
from shop import plugin
from trouble import KINDS

ORDER = {"name": "order", "args": {"item": "tea", "quantity": 2, "amount": 20}}
PAIRS = [("reserve", "release"), ("charge", "refund")]
KILLED = -9


@pytest.fixture
def shop(tmp_path):
    """Calls a stage with a data directory and a ledger of its own; `shop.saw()` is what happened outside."""

    def call(stage, key="R1/s", args=None, **members):
        payload = {**ORDER, "args": {**ORDER["args"], **(args or {})}}
        config = {"ledger": str(tmp_path / "ledger.jsonl")}
        return testing.call(plugin, stage, payload=payload, key=key, data=tmp_path, config=config, **members)

    def saw():
        file = tmp_path / "ledger.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(line["key"], line["stage"], line["what"]) for line in map(json.loads, lines)]

    call.saw = saw
    return call


@pytest.mark.parametrize("stage", ["reserve", "charge", "notify"])
def test_a_call_has_its_effect_once(shop, stage):
    first = shop(stage)
    assert shop(stage, attempt=2).out == first.out == {"receipt": f"{stage}:R1/s"}
    assert shop.saw() == [("R1/s", stage, "do")]


@pytest.mark.parametrize(("stage", "undo"), PAIRS)
def test_an_undo_takes_it_back_once_and_for_ever(shop, stage, undo):
    shop(stage)
    assert shop(undo).out == shop(undo).out == {"undone": True}
    with pytest.raises(Undone):
        shop(stage)
    assert shop.saw() == [("R1/s", stage, "do"), ("R1/s", undo, "undo")]


@pytest.mark.parametrize(("stage", "undo"), PAIRS)
def test_what_never_happened_is_undone_by_forbidding_it(shop, stage, undo):
    assert shop(undo).out == {"undone": False}
    with pytest.raises(Undone):
        shop(stage)
    assert shop.saw() == []


def test_too_much_is_refused_before_anything_happens(shop):
    assert shop("reserve", args={"quantity": 11}).violation.code == "shop.sold_out"
    assert shop("charge", args={"amount": 101}).violation.code == "shop.declined"
    assert shop("charge", input={"amount": 101}).violation.code == "shop.declined"
    assert shop.saw() == []


def test_trouble_comes_on_demand_and_only_to_the_stage_that_it_names(shop):
    with pytest.raises(RuntimeError, match="told to fail"):
        shop("notify", args={"trouble": {"notify": "fail"}})
    with pytest.raises(Retryable):
        shop("notify", args={"trouble": {"notify": "retry once"}})
    assert shop("notify", args={"trouble": {"notify": "retry once"}}, attempt=2).out
    assert shop("reserve", args={"trouble": {"notify": "fail"}}).out
    with pytest.raises(ValueError, match="there are fail, retry, hang, crash, crash_after, closed"):
        shop("notify", args={"trouble": {"notify": "explode"}})
    assert len(KINDS) == 6


def test_a_closed_bank_opens(shop, monkeypatch):
    shop("charge")
    with pytest.raises(Retryable, match="closed"):
        shop("refund", args={"trouble": {"refund": "closed"}})
    monkeypatch.setenv("SHOP_BANK", "open")
    assert shop("refund", args={"trouble": {"refund": "closed"}}).out == {"undone": True}


def test_what_came_of_an_order_is_recorded_once(shop):
    shop("record", input={"verdict": "deny"})
    shop("record", input={"verdict": "deny"})
    assert shop.saw() == [("R1/s", "record", "do")]


def crashing(shop, stage, kind):
    """The call in a process of its own, which is killed by it."""
    process = multiprocessing.get_context("fork").Process(
        target=shop, args=(stage,), kwargs={"args": {"trouble": {stage: kind}}}
    )
    process.start()
    process.join()
    assert process.exitcode == KILLED


@pytest.mark.parametrize(("kind", "happened"), [("crash", False), ("crash_after", True)])
def test_after_a_crash_the_world_is_asked(shop, kind, happened):
    crashing(shop, "reserve", kind)
    assert shop("release").out == {"undone": happened}
    assert shop.saw() == ([("R1/s", "reserve", "do"), ("R1/s", "release", "undo")] if happened else [])


@pytest.mark.parametrize("kind", ["crash", "crash_after"])
def test_an_attempt_after_a_crash_does_it_no_second_time(shop, kind):
    crashing(shop, "charge", kind)
    assert shop("charge", attempt=2).out == {"receipt": "charge:R1/s"}
    assert shop.saw() == [("R1/s", "charge", "do")]


@pytest.mark.parametrize("kind", ["crash", "crash_after"])
def test_an_undo_that_crashed_is_finished_by_the_next(shop, kind):
    shop("charge")
    crashing(shop, "refund", kind)
    assert shop("refund").out == {"undone": True}
    assert shop.saw() == [("R1/s", "charge", "do"), ("R1/s", "refund", "undo")]
