"""The breakers of a host: one for each generation, stage and policy, found as operators name them."""

from __future__ import annotations

from dataclasses import replace

from breaking import STEADY, Clock, Noting, broken

from orchestrator.resilience.breakers import Breakers

HASTY = replace(STEADY, name="hasty", open_seconds=1.0)


def filled() -> Breakers:
    breakers = Breakers(Clock())
    for generation, stage, policy in (
        ("pii@22222222", "mask", STEADY),
        ("pii@11111111", "mask", STEADY),
        ("pii@11111111", "mask", HASTY),
        ("pii@11111111", "find", STEADY),
        ("piiplus@33333333", "mask", STEADY),
    ):
        breakers.of(generation, stage, policy)
    return breakers


def test_the_same_breaker_comes_back_for_the_same_key() -> None:
    breakers = filled()
    first = breakers.of("pii@11111111", "mask", STEADY)
    assert breakers.of("pii@11111111", "mask", replace(STEADY)) is first
    assert len(breakers.views()) == 5


def test_a_breaker_that_opens_leaves_every_other_closed() -> None:
    breakers = filled()
    broken(breakers.of("pii@11111111", "mask", STEADY))
    opened = [view.name for view in breakers.views() if view.state != "closed"]
    assert opened == ["pii@11111111/mask steady"]


def test_a_policy_that_changed_has_a_breaker_of_its_own() -> None:
    breakers = filled()
    changed = breakers.of("pii@11111111", "mask", replace(STEADY, probes=1))
    assert changed is not breakers.of("pii@11111111", "mask", STEADY)
    assert len(breakers.find("pii@11111111/mask steady")) == 2


def test_breakers_are_found_by_full_name_by_stage_and_by_plugin() -> None:
    breakers = filled()
    found = {
        text: sorted(one.name for one in breakers.find(text))
        for text in ("pii@11111111/mask hasty", "pii/mask", "pii", "piiplus", "pi", "mask", "pii/mask steady", "")
    }
    assert found == {
        "pii@11111111/mask hasty": ["pii@11111111/mask hasty"],
        "pii/mask": ["pii@11111111/mask hasty", "pii@11111111/mask steady", "pii@22222222/mask steady"],
        "pii": [
            "pii@11111111/find steady",
            "pii@11111111/mask hasty",
            "pii@11111111/mask steady",
            "pii@22222222/mask steady",
        ],
        "piiplus": ["piiplus@33333333/mask steady"],
        "pi": [],
        "mask": [],
        "pii/mask steady": [],
        "": [],
    }


def test_views_are_sorted_by_name() -> None:
    names = [view.name for view in filled().views()]
    assert names == sorted(names)


def test_a_forgotten_generation_is_gone_and_its_permits_settle_all_the_same() -> None:
    breakers = filled()
    old = breakers.of("pii@11111111", "mask", STEADY)
    permit = old.admit()
    breakers.forget("pii@11111111")
    old.succeeded(permit)
    assert [view.name for view in breakers.views()] == ["pii@22222222/mask steady", "piiplus@33333333/mask steady"]
    assert breakers.of("pii@11111111", "mask", STEADY) is not old
    breakers.forget("never@00000000")


def test_listeners_hear_of_every_breaker() -> None:
    noting = Noting()
    breakers = Breakers(Clock(), [noting])
    for stage in ("mask", "find"):
        breakers.of("pii@11111111", stage, STEADY).force_open("drill")
    assert noting.heard == ["closed to open"] * 2
