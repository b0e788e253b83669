"""Request ids and traces: what is taken for one, and where it goes with a run."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import Handed
from hypothesis import given
from hypothesis import strategies as st
from surviving import HOOK, PAYLOAD, VIOLATION, Bench

from orchestrator.contexts import request_id_of
from orchestrator.door import DoorError, admit_context
from orchestrator.durable.replay import request_of
from orchestrator.engine.lasting import Lasting
from orchestrator.journal.rows import RunRow
from orchestrator.record.ring import Ring
from orchestrator.record.summary import Summary
from orchestrator.run_logs import LOGGERS, traced_logs
from orchestrator.traces import MAX_REQUEST_ID_CHARACTERS, accepted_request_id, accepted_trace, fresh_trace
from pipelines.body import Body

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CONTEXT = {"request_id": "r-1"}

TEXT = """
  p:
    hook: tool_pre_invoke
    deadline: 5s
    durable: {durable}
    stages:
      a: {{ uses: s/reserve, compensate: {{ uses: s/release, retry: none }} }}
      b: {{ uses: s/act, needs: [a] }}
    finally:
      last: {{ uses: s/act, timeout: 1s }}
"""


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        (TRACE, TRACE),
        (f"cc{TRACE[2:]}", TRACE),
        (f"cc{TRACE[2:]}-what-the-future-will-be-like", TRACE),
        (f"cc{TRACE[2:]}.what", ""),
        (f"{TRACE}-more", ""),
        (f"ff{TRACE[2:]}", ""),
        (TRACE.upper(), ""),
        (TRACE[:-1], ""),
        (f"{TRACE}\n", ""),
        (f" {TRACE}", ""),
        ("00-" + "0" * 32 + TRACE[35:], ""),
        (TRACE[:36] + "0" * 16 + "-01", ""),
        ("", ""),
    ],
)
def test_a_trace_is_taken_as_w3c_says(header: str, taken: str) -> None:
    """Trace Context, 3.2: of a later version only what is known of version 00 counts."""
    assert accepted_trace(header) == taken


def test_a_fresh_trace_is_one_and_none_is_like_another() -> None:
    made = {fresh_trace() for _ in range(100)}
    assert len(made) == 100
    assert all(accepted_trace(trace) == trace for trace in made)


@pytest.mark.parametrize("header", ["", "a b", "a\x1b[31m", "ü", "x" * (MAX_REQUEST_ID_CHARACTERS + 1)])
def test_a_request_id_that_would_harm_a_log_is_none(header: str) -> None:
    assert accepted_request_id(header) == ""
    assert accepted_request_id("a-1:b/2") == "a-1:b/2"


@given(id=st.text(max_size=20), first=st.booleans())
def test_a_request_id_is_read_off_wherever_it_stands(id: str, first: bool) -> None:
    tree = {"request_id": id, "tenant": "t"} if first else {"tenant": '{"request_id":"no"', "request_id": id}
    try:
        context = admit_context(tree)
    except DoorError:
        return  # a lone surrogate
    assert request_id_of(context) == id
    assert request_id_of(Body(context.raw)) == id


def test_a_context_keeps_its_own_request_id() -> None:
    assert request_id_of(admit_context(b'{"request_id":"mine"}', "other")) == "mine"
    for given_one in (b'{"tenant":"t"}', b'{"global_context":{"tenant_id":"t"}}', {"tenant": "t"}, b"", None):
        assert request_id_of(admit_context(given_one, "other")) == "other"


def test_a_trace_that_is_none_is_refused_at_the_door(bench: Bench) -> None:
    bench.serve(TEXT.format(durable="false"))
    with pytest.raises(DoorError, match="traceparent"):
        bench.engine.submit(HOOK, PAYLOAD, trace='"},{"')


def sent(handed: list[Handed]) -> set[bytes]:
    return {one.call.invocation.trace for one in handed}


@pytest.mark.parametrize("durable", ["false", "true"])
def test_everything_that_a_run_calls_is_told_its_trace(bench: Bench, durable: str) -> None:
    """Stages, undo and `finally`."""
    bench.serve(TEXT.format(durable=durable))
    call = bench.engine.submit(HOOK, PAYLOAD, CONTEXT, trace=TRACE)
    bench.journal.settle()
    bench.answer("a")
    bench.answer("b", VIOLATION)
    bench.answer("a/undo")
    bench.answer("finally/last")
    assert {one.stage for one in bench.plugin.handed} == {"a", "b", "a/undo", "finally/last"}
    assert sent(bench.plugin.handed) == {f'"{TRACE}"'.encode()}
    run = call.runs[0]
    assert isinstance(run, Lasting) and run.over
    record = Summary.of(run).record()
    assert (record["request_id"], record["trace"]) == ("r-1", TRACE)


def test_without_a_trace_plugins_are_sent_null(bench: Bench) -> None:
    bench.call(TEXT.format(durable="false"))
    assert sent(bench.plugin.handed) == {b"null"}


def test_a_run_that_is_taken_up_has_its_trace_again(bench: Bench) -> None:
    bench.serve(TEXT.format(durable="true"))
    bench.engine.submit(HOOK, PAYLOAD, CONTEXT, trace=TRACE)
    bench.journal.settle()
    bench.answer("a")
    (run,) = bench.restart()
    assert run.trace == TRACE
    assert bench.engine.traced(run.id) == ("r-1", TRACE)


def test_the_request_of_a_run_that_cannot_be_taken_up_is_in_its_row(bench: Bench) -> None:
    bench.serve(TEXT.format(durable="true"))
    bench.engine.submit(HOOK, PAYLOAD, CONTEXT, trace=TRACE)
    bench.journal.settle()
    (row,) = bench.journal.unfinished()
    assert isinstance(row, RunRow)
    assert request_of(row) == {"request_id": "r-1", "trace": TRACE}
    assert request_of(replace(row, body=b"damaged")) == {"request_id": "", "trace": ""}


# Finding them while a run is under way.

PASSING = """
  p:
    hook: tool_pre_invoke
    deadline: 5s
    stages:
      b: { uses: s/act }
"""


@pytest.mark.parametrize("text", [PASSING, TEXT.format(durable="false"), TEXT.format(durable="true")])
def test_a_run_is_found_until_it_is_over_and_no_longer(bench: Bench, text: str) -> None:
    bench.serve(text)
    call = bench.engine.submit(HOOK, PAYLOAD, CONTEXT, trace=TRACE)
    bench.journal.settle()
    run = call.runs[0].id
    assert bench.engine.traced(run) == ("r-1", TRACE)
    for stage in ("a", "b") if text is not PASSING else ("b",):
        assert bench.engine.traced(run) == ("r-1", TRACE)
        bench.answer(stage)
    call.delivered()
    bench.journal.settle()
    if text is not PASSING:
        assert bench.engine.traced(run) == ("r-1", TRACE)
        bench.answer("finally/last")
    assert bench.engine.traced(run) is None
    assert (bench.engine.under_way, bench.engine.open) == (0, {})


def test_a_call_that_is_abandoned_leaves_nothing_to_find(bench: Bench) -> None:
    call = bench.call(PASSING)
    run = call.runs[0].id
    assert bench.engine.traced(run) is not None
    call.abandon()
    assert bench.engine.traced(run) is None


# In the log.


@pytest.fixture
def found() -> dict[str, tuple[str, str]]:
    """Runs under way."""
    return {"run1": ("r-1", TRACE)}


def test_records_that_name_a_run_get_its_request(
    found: dict[str, tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("penstock.run")
    with traced_logs(found.get):
        log.warning("known", extra={"run": "run1"})
        log.warning("unknown", extra={"run": "run2"})
        log.warning("none")
        log.warning("told", extra={"run": "run1", "request_id": "own", "trace": ""})
    log.warning("after", extra={"run": "run1"})
    known = {record.getMessage(): getattr(record, "request_id", None) for record in caplog.records}
    assert known == {"known": "r-1", "unknown": None, "none": None, "told": "own", "after": None}


def test_two_hosts_in_one_process_each_find_their_own(caplog: pytest.LogCaptureFixture) -> None:
    first, second = {"run1": ("r-1", "")}, {"run2": ("r-2", "")}
    with traced_logs(first.get), traced_logs(second.get):
        for run in ("run1", "run2"):
            logging.getLogger("penstock.plugin").warning("said", extra={"run": run})
    assert [getattr(record, "request_id", None) for record in caplog.records] == ["r-1", "r-2"]


def test_who_ended_lately_is_still_known(bench: Bench) -> None:
    """A worker may speak of a run that was over before it answered."""
    bench.serve(PASSING)
    ring = Ring()
    call = bench.engine.submit(HOOK, PAYLOAD, CONTEXT, trace=TRACE)
    (run,) = call.runs
    bench.answer("b")
    ring.add(Summary.of(run))
    assert ring.asked(run.id) == ("r-1", TRACE)
    assert ring.asked("another") is None


def test_of_a_request_id_without_end_the_beginning_is_noted(bench: Bench) -> None:
    """The plugin gets it as it is; ten thousand summaries do not keep it."""
    bench.serve(PASSING)
    endless = "r" * 100_000
    call = bench.engine.submit(HOOK, PAYLOAD, {"request_id": endless})
    assert endless.encode() in bench.plugin.handed[0].call.invocation.context
    bench.answer("b")
    (run,) = call.runs
    assert Summary.of(run).request_id == endless[:MAX_REQUEST_ID_CHARACTERS]


def test_every_logger_that_names_runs_is_listed() -> None:
    """A logger is named after its module's logger, and a run is named in `extra`."""
    root = Path(__file__).parents[2]
    naming = {"penstock.plugin", "penstock.call"}  # a line of a plugin names its run; a callback may belong to one
    for path in [*(root / "orchestrator").rglob("*.py"), *(root / "isolation").glob("*.py")]:
        text = path.read_text(encoding="utf-8")
        name = re.search(r'getLogger\("(penstock\.\w+)"\)', text)
        if name is not None and re.search(r'\{"run": |"run": run', text) and "extra" in text:
            naming.add(name[1])
    assert naming <= set(LOGGERS)
