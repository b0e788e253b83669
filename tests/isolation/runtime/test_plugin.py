"""A plugin that cannot work is refused when it is declared, in words its author can act on."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from isolation.runtime.penstock_plugin import Answer, Call, DeclarationError, Plugin, Violation


def _good(call: Call) -> None:
    return None


@pytest.mark.parametrize("name", ["", "Mask", "2nd", "mask-it", "_mask", "mäsk", "a b", 7])
def test_a_stage_needs_a_name_that_pipeline_files_can_write(name: str) -> None:
    with pytest.raises(DeclarationError, match="stage name"):
        Plugin().stage(name)


def test_a_stage_is_declared_once() -> None:
    plugin = Plugin()
    plugin.stage("mask")(_good)
    with pytest.raises(DeclarationError, match="'mask' is declared twice"):
        plugin.stage("mask")(_good)


def test_a_stage_without_its_name_is_noticed() -> None:
    with pytest.raises(DeclarationError, match="needs its name"):
        Plugin().stage(_good)  # type: ignore[arg-type]  # the mistake itself


@pytest.mark.parametrize("function", [
    lambda: None, lambda call, more: None, lambda call, *, more: None,
    lambda *, call: None,
])  # fmt: skip
def test_a_stage_takes_one_argument(function: Callable[[Call], None]) -> None:
    with pytest.raises(DeclarationError, match=r"must take one argument: def <lambda>\(call\)"):
        Plugin().stage("mask")(function)


@pytest.mark.parametrize(
    "function", [_good, lambda call, more=1: None, lambda *calls: None, functools.partial(_good), print]
)
def test_anything_that_takes_a_call_may_be_a_stage(function: Callable[[Call], None]) -> None:
    plugin = Plugin()
    assert plugin.stage("mask")(function) is function
    assert not plugin.is_async


def test_a_generator_is_no_stage() -> None:
    def stage(call: Call) -> object:
        yield

    with pytest.raises(DeclarationError, match="generator"):
        Plugin().stage("mask")(stage)


def _with_an_undo() -> Plugin:
    plugin = Plugin()
    plugin.stage("reserve")(_good)
    assert plugin.compensation("release", undoes="reserve")(_good) is _good
    return plugin


@pytest.mark.parametrize(
    ("name", "undoes", "says"),
    [
        ("refund", "charge", "no stage 'charge' for 'refund' to undo; declare it above its undo"),
        ("refund", "refund", "no stage 'refund'"),
        ("again", "release", "'release' is an undo itself"),
        ("again", "reserve", "'reserve' has an undo already; 'again' would be a second one"),
    ],
)
def test_an_undo_undoes_one_ordinary_stage_declared_above_it(name: str, undoes: str, says: str) -> None:
    with pytest.raises(DeclarationError, match=says):
        _with_an_undo().compensation(name, undoes=undoes)


@pytest.mark.parametrize(("name", "says"), [("charge", "declared twice"), ("Refund", "stage name")])
def test_an_undo_has_a_name_of_its_own(name: str, says: str) -> None:
    plugin = _with_an_undo()
    plugin.stage("charge")(_good)
    with pytest.raises(DeclarationError, match=says):
        plugin.compensation(name, undoes="charge")


def test_startup_and_configure_are_declared_once_each() -> None:
    plugin = Plugin()
    plugin.startup(lambda start: None)
    plugin.configure(lambda config: None)
    with pytest.raises(DeclarationError, match="startup is declared twice"):
        plugin.startup(lambda start: None)
    with pytest.raises(DeclarationError, match="configure is declared twice"):
        plugin.configure(lambda config: None)


def test_async_is_found_behind_methods_partials_and_callable_objects() -> None:
    class Masking:
        async def mask(self, call: Call) -> None: ...

        async def __call__(self, call: Call) -> None: ...

    for function in (Masking().mask, functools.partial(Masking().mask), Masking()):
        plugin = Plugin()
        plugin.stage("mask")(function)
        assert plugin.is_async


@pytest.mark.parametrize("members", [
    {"payload": [1]}, {"patch": "x"}, {"out": [1]}, {"state": 1}, {"hints": "x"}, {"violation": "no"}, {"result": 1},
    {"payload": {}, "patch": {}},
])  # fmt: skip
def test_an_answer_that_the_host_would_refuse_cannot_be_made(members: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        Answer(**members)  # type: ignore[arg-type]  # the mistakes themselves


@pytest.mark.parametrize(("code", "reason"), [("", "x"), ("x", ""), (7, "x"), ("x", None), ("penstock.timeout", "x")])
def test_a_violation_needs_a_code_of_its_own_and_a_reason(code: str, reason: str) -> None:
    with pytest.raises(TypeError, match="violation"):
        Violation(code, reason)
