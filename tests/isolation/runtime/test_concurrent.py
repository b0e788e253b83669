"""A plugin with `async def`: many calls at once, cancellation, and one thread for its plain functions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from started import Message, Started, compensation, invocation, line_of


@pytest.fixture
def plugin() -> Iterator[Started]:
    with Started("mixed:plugin") as started:
        yield started.ready({"n": 1})


def _cancel(plugin: Started, number: int) -> None:
    plugin.send(line_of({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": number}}))


def test_calls_run_side_by_side(plugin: Started) -> None:
    plugin.send(b"".join(invocation(number, "wait") for number in range(100, 132)) + invocation(132, "open"))
    answers = [plugin.answer() for _ in range(33)]
    assert {answer["id"] for answer in answers} == set(range(100, 133))
    assert max(answer["result"]["out"]["most"] for answer in answers if answer["id"] != 132) == 32


def test_the_handshake_says_what_is_async_and_how_many_it_takes() -> None:
    with Started("mixed:plugin") as plugin:
        said = plugin.ask("initialize", {"plugin": {"name": "n", "version": "1"}})["result"]
    assert said["stages"]["wait"] == {"async": True}
    assert said["stages"]["plain"] == {"async": False}
    assert said["concurrency"] > 1


def test_ping_is_answered_while_calls_wait(plugin: Started) -> None:
    plugin.send(invocation(100, "wait"))
    assert plugin.ask("ping")["result"] == {}


def test_a_cancelled_call_is_answered_once(plugin: Started) -> None:
    plugin.send(invocation(100, "wait"))
    _cancel(plugin, 100)
    _cancel(plugin, 100)
    answer = plugin.answer()
    assert (answer["id"], answer["error"]["code"]) == (100, -32800)
    assert plugin.ask("ping")["result"] == {}


def test_a_call_that_is_cancelled_before_it_began_is_answered_too(plugin: Started) -> None:
    """Both lines come in one read, so its task never makes a step."""
    cancel = line_of({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": 100}})
    plugin.send(invocation(100, "open") + cancel)
    assert plugin.answer()["error"]["code"] == -32800


def test_a_stage_may_finish_in_spite_of_its_cancellation(plugin: Started) -> None:
    plugin.send(invocation(100, "stubborn"))
    assert plugin.ask("ping")["result"] == {}
    _cancel(plugin, 100)
    assert plugin.answer()["result"]["out"] == {"finished": "all the same"}


def test_cancelling_what_is_unknown_changes_nothing(plugin: Started) -> None:
    for number in (7000, "x", None, True):
        plugin.send(line_of({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": number}}))
    assert plugin.ask("ping")["result"] == {}


def test_plain_stages_run_one_at_a_time_in_one_thread(plugin: Started) -> None:
    plugin.send(b"".join(invocation(number, "plain") for number in range(100, 120)))
    outs = [plugin.answer()["result"]["out"] for _ in range(20)]
    assert {out["threads"] for out in outs} == {1}
    assert outs[0]["main"].startswith("penstock-stage")


@pytest.mark.parametrize(("stage", "code"), [("exit", -32804), ("stop_iteration", -32804), ("dance", -32602)])
def test_whatever_a_stage_raises_is_answered(plugin: Started, stage: str, code: int) -> None:
    assert plugin.call(stage)["error"]["code"] == code
    assert plugin.ask("ping")["result"] == {}


def test_a_violation_may_be_raised(plugin: Started) -> None:
    assert plugin.call("deny")["result"] == {"violation": {"code": "no", "reason": "because"}}


def test_startup_and_configure_may_be_async(plugin: Started) -> None:
    assert plugin.call("log")["result"]["out"] == {"n": 1, "prepared": True}
    assert plugin.notifications[0]["params"]["message"] == "awake"


def test_logs_carry_run_and_stage_in_tasks_and_in_the_thread(plugin: Started) -> None:
    plugin.send(invocation(100, "log") + invocation(101, "plain"))
    answers = [plugin.answer(), plugin.answer()]
    assert {answer["id"] for answer in answers} == {100, 101}
    logs = {note["params"]["message"]: note["params"] for note in plugin.notifications if note["method"] == "log"}
    assert (logs["after an await"]["run"], logs["after an await"]["stage"]) == ("R100", "log")
    assert (logs["in a thread"]["run"], logs["in a thread"]["stage"]) == ("R101", "plain")


def test_an_id_in_use_is_refused_and_the_first_call_goes_on(plugin: Started) -> None:
    plugin.send(invocation(100, "wait") + invocation(100, "wait"))
    assert plugin.answer()["error"]["code"] == -32600
    plugin.send(invocation(101, "open"))
    assert {plugin.answer()["id"], plugin.answer()["id"]} == {100, 101}


def test_shutdown_answers_what_is_left_and_then_itself(plugin: Started) -> None:
    plugin.send(invocation(100, "wait"))
    plugin.send(line_of({"jsonrpc": "2.0", "id": 200, "method": "shutdown", "params": {}}))
    answers: list[Message] = [plugin.answer(), plugin.answer()]
    assert [answer["id"] for answer in answers] == [100, 200]
    assert plugin.ended()[0] == 0


def test_the_end_of_input_ends_it_with_calls_at_work(plugin: Started) -> None:
    plugin.send(invocation(100, "wait"))
    assert plugin.ended()[0] == 0


def test_undos_run_beside_calls_and_answer_nothing_but_an_out(plugin: Started) -> None:
    plugin.send(invocation(100, "wait") + compensation(101, "unwait", "R9/wait"))
    assert plugin.answer() == {"jsonrpc": "2.0", "id": 101, "result": {"out": {"undoes": "R9/wait"}}}
    assert "'unplain' is an undo and gave violation" in plugin.undo("unplain", "R9/plain")["error"]["message"]
    assert plugin.call("unwait")["error"]["code"] == -32602
    assert plugin.undo("plain", "R9/plain")["error"]["code"] == -32602
