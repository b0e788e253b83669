"""A plugin of plain functions, through the launcher: what it is handed, and what becomes of its answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from started import Started, compensation, invocation, line_of


@pytest.fixture(params=[False, True], ids=["json", "msgspec"])
def plugin(request: pytest.FixtureRequest) -> Iterator[Started]:
    """Ready, once with the standard library's JSON and once with msgspec in its environment."""
    with Started("plain:plugin", site=request.param) as started:
        yield started.ready({"words": ["a"]}, {"token": "t"})


def test_a_call_hands_over_everything_the_host_wrote(plugin: Started) -> None:
    answer = plugin.call("everything", {"name": "n", "args": {"deep": [1, {"x": None}]}}, context={"tenant": "acme"},
                         input={"n": 1}, attempt=2, key="k", trace="00-a-b-01", run="R")  # fmt: skip
    out = answer["result"]["out"]
    remaining = out.pop("remaining")
    assert 0 < remaining <= 5
    assert out == {
        "hook": "tool_pre_invoke", "stage": "everything", "run": "R", "key": "k", "attempt": 2, "trace": "00-a-b-01",
        "payload": {"name": "n", "args": {"deep": [1, {"x": None}]}}, "context": {"tenant": "acme"}, "input": {"n": 1},
        "config": {"words": ["a"], "secret": "t"}, "secrets": {"token": "t"},
    }  # fmt: skip
    progress = plugin.notifications[-1]
    assert progress["params"] == {"id": answer["id"], "message": "begun", "done": 0.5}


@pytest.mark.parametrize(
    ("stage", "result"),
    [
        ("nothing", {}),
        ("modify", {"payload": {"name": "tool", "args": {"q": "\U0001f600"}}, "out": {"n": 2**70},
                    "state": {"seen": True}, "hints": {"retry_after_ms": 5}}),
        ("patch", {"patch": {"args": {"q": None}}}),
        ("respond", {"result": {"id": "ana"}}),
        ("deny", {"violation": {"code": "no", "reason": "because", "details": {"n": 1}, "http_status": 403,
                                "retry_after_ms": 10}, "out": {"n": 1}}),
        ("return_violation", {"violation": {"code": "no", "reason": "because"}}),
    ],
)  # fmt: skip
def test_every_way_to_answer(plugin: Started, stage: str, result: object) -> None:
    assert plugin.call(stage)["result"] == result


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("retryable", {"code": -32801, "message": "later", "data": {"retry_after_ms": 7}}),
        ("busy", {"code": -32802, "message": "full"}),
    ],
)
def test_what_is_raised_for_the_host_has_its_own_number(plugin: Started, what: str, error: object) -> None:
    assert plugin.call("raise", {"what": what})["error"] == error


def test_an_exception_is_answered_with_the_authors_traceback(plugin: Started) -> None:
    error = plugin.call("raise", {"what": "value"})["error"]
    assert (error["code"], error["message"], error["data"]["type"]) == (-32804, "ValueError: x", "ValueError")
    assert "plain.py" in error["data"]["traceback"]
    assert "penstock_plugin" not in error["data"]["traceback"].split("plain.py")[0]


def test_a_deadline_that_has_passed_is_answered_without_calling(plugin: Started) -> None:
    assert plugin.call("nothing", deadline_ms=0)["error"]["code"] == -32803


def test_waiting_calls_are_answered_in_their_order(plugin: Started) -> None:
    plugin.send(b"".join(invocation(number, "nothing") for number in range(100, 164)))
    assert [plugin.answer()["id"] for _ in range(64)] == list(range(100, 164))


def test_a_payload_larger_than_a_pipe_arrives_whole(plugin: Started) -> None:
    payload = {"name": "tool", "args": {"q": "é" * 200_000}}
    assert plugin.call("everything", payload)["result"]["out"]["payload"] == payload


def test_members_of_another_host_may_come_in_any_order(plugin: Started) -> None:
    params = {"payload": {"q": 1}, "stage": "everything", "config": "c1", "hook": "h", "deadline_ms": 900}
    plugin.send(line_of({"id": 50, "params": params, "method": "stage/invoke", "jsonrpc": "2.0"}))
    assert plugin.answer()["result"]["out"]["payload"] == {"q": 1}


def test_a_length_that_lies_is_not_believed(plugin: Started) -> None:
    """The cut is checked; a line that does not fit it is parsed whole."""
    line = invocation(60, "everything", {"q": 1}).replace(b'"bytes":7', b'"bytes":3')
    plugin.send(line)
    assert plugin.answer()["result"]["out"]["payload"] == {"q": 1}


def test_an_undo_is_handed_the_key_of_the_call_that_it_takes_back(plugin: Started) -> None:
    payload = {"name": "tool", "args": {"q": "x"}}
    out = {"undoes": "R1/reserve", "key": "R1/reserve/undo", "payload": payload}
    assert plugin.undo("release", "R1/reserve", key="R1/reserve/undo")["result"] == {"out": out}
    assert plugin.call("reserve")["result"] == {"out": {"undoes": None}}


def test_an_undo_of_another_host_may_come_with_its_members_in_any_order(plugin: Started) -> None:
    params = {"payload": {"what": "nothing"}, "undoes": "R1/reserve", "stage": "release", "config": "c1", "hook": "h"}
    plugin.send(line_of({"id": 50, "params": params, "method": "stage/compensate", "jsonrpc": "2.0"}))
    assert plugin.answer()["result"] == {}


@pytest.mark.parametrize("what", ["payload", "patch", "state", "hints", "result", "violation", "raises"])
def test_an_undo_that_answers_more_than_an_out_is_the_plugins_error(plugin: Started, what: str) -> None:
    error = plugin.undo("release", "R1/reserve", payload={"what": what})["error"]
    assert error["code"] == -32804
    assert "'release' is an undo and gave" in error["message"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (invocation(70, "release"), "'release' undoes 'reserve'; call it with stage/compensate"),
        (compensation(70, "reserve", "R1/reserve"), "'reserve' is no undo; call it with stage/invoke"),
        (compensation(70, "release", ""), "params.undoes is the key of a call to undo"),
        (compensation(70, "release", "R1/r").replace(b'"R1/r"', b"null"), "params.undoes is the key of a call to undo"),
        (compensation(70, "release", "R1/r").replace(b'"R1/r"', b"7"), "params.undoes must be a string"),
        (invocation(70, "release", undoes="R1/r"), "params.undoes is the key of a call to undo"),
        (invocation(70, "reserve", undoes="R1/r"), "params.undoes is the key of a call to undo"),
        (compensation(70, "dance", "R1/r"), "no stage 'dance'"),
    ],
)
def test_a_stage_is_called_by_its_own_method_only(plugin: Started, line: bytes, says: str) -> None:
    plugin.send(line)
    error = plugin.answer()["error"]
    assert error["code"] == -32602
    assert says in error["message"]


def test_the_handshake_says_what_a_stage_undoes() -> None:
    with Started("plain:plugin") as plugin:
        stages = plugin.ask("initialize", {"plugin": {"name": "n", "version": "1"}})["result"]["stages"]
    assert stages["release"] == {"async": False, "undoes": "reserve"}
    assert stages["reserve"] == {"async": False}


@pytest.mark.parametrize(
    ("line", "number", "code"),
    [
        (b"garbage", None, -32700),
        (b"\xff\xfe", None, -32700),
        (b"[" * 100_000, None, -32700),
        (b"{}", None, -32600),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', None, -32600),
        (b'{"jsonrpc":"2.0","id":1.0,"method":"ping"}', None, -32600),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', None, -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', None, -32600),
        (b'{"jsonrpc":"2.0","id":70,"method":"dance"}', 70, -32601),
        (b'{"jsonrpc":"2.0","id":70,"method":"stage/invoke","params":[]}', 70, -32602),
        (b'{"jsonrpc":"2.0","id":70,"method":"stage/invoke","params":{"stage":7}}', 70, -32602),
        (b'{"jsonrpc":"2.0","id":70,"method":"configure","params":{"configs":[]}}', 70, -32602),
    ],
)
def test_a_wrong_line_is_answered_and_the_next_one_served(
    plugin: Started, line: bytes, number: int | None, code: int
) -> None:
    plugin.send(line + b"\n")
    answer = plugin.answer()
    assert (answer["id"], answer["error"]["code"]) == (number, code)
    assert plugin.ask("ping")["result"] == {}


def test_unknown_stages_and_configurations_are_named(plugin: Started) -> None:
    assert "no stage 'dance'; it has deny" in plugin.call("dance")["error"]["message"]
    assert "'c9' was never configured" in plugin.call("nothing", config="c9")["error"]["message"]


def test_a_configuration_that_is_known_is_not_made_again(plugin: Started) -> None:
    plugin.ask("configure", {"configs": {"c1": {"with": {"words": ["a"]}}, "c2": {"with": {"words": ["b"]}}}})
    out = plugin.call("seen")["result"]["out"]
    assert out == {"startups": 1, "configured": [{"words": ["a"]}, {"words": ["b"]}]}


def test_a_table_without_a_configuration_forgets_it(plugin: Started) -> None:
    plugin.ask("configure", {"configs": {"c2": {"with": {}}}})
    assert plugin.call("nothing")["error"]["code"] == -32602
    assert plugin.call("nothing", config="c2")["result"] == {}


def test_startup_reports_its_progress_before_the_first_configure_is_answered(plugin: Started) -> None:
    assert plugin.notifications[0]["params"] == {"message": "half way", "done": 1, "total": 2}


def test_shutdown_and_the_end_of_input_end_it_with_status_zero(plugin: Started) -> None:
    assert plugin.ask("shutdown")["result"] == {}
    assert plugin.ended()[0] == 0
    with Started("plain:plugin") as other:
        other.ready()
        assert other.ended()[0] == 0


def test_a_line_over_the_limit_ends_it() -> None:
    with Started("plain:plugin", max_frame=70_000) as plugin:
        plugin.ready()
        plugin.send(b"x" * 70_001)
        assert plugin.answer()["error"]["code"] == -32805
        assert plugin.ended()[0] == 1


def test_nothing_is_served_before_the_handshake() -> None:
    with Started("plain:plugin") as plugin:
        assert plugin.call("nothing")["error"]["code"] == -32600
        assert plugin.ask("configure", {"configs": {}})["error"]["code"] == -32600


def test_a_protocol_of_the_future_is_refused_with_both_versions() -> None:
    with Started("plain:plugin") as plugin:
        error = plugin.ask("initialize", {"protocol": {"min": "2.0", "max": "2.3"}})["error"]
        assert "speaks protocol 1.0, the host 2.0 to 2.3" in error["message"]
