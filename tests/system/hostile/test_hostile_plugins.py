"""Whatever a plugin does, its caller gets the right error in time, its neighbour works on, nothing is left behind."""

from __future__ import annotations

import asyncio
import enum
import re
from dataclasses import dataclass

import pytest
from hostile_driver import PLUGINS, see

from isolation.errors import (
    CallError,
    DeadlineExceeded,
    PluginError,
    RemoteProtocolError,
    StartError,
    WorkerLost,
)
from pipelines.answer import BadAnswer, StageAnswer

GENEROUS_SECONDS = 8.0
"""The deadline of calls whose fault is visible: the error must come long before it."""
AT_ONCE_SECONDS = 4.0
SHORT_SECONDS = 0.2
"""The deadline of calls whose fault nobody can see."""


class When(enum.Enum):
    """When the caller has to be told."""

    AT_ONCE = enum.auto()
    AT_DEADLINE = enum.auto()


@dataclass(frozen=True)
class Case:
    """One script: the outcome of its last call, what the message must say, and how many calls lead to it."""

    script: str
    ends_with: type[object]
    says: str = ""
    when: When = When.AT_ONCE
    calls: int = 1


def _cases(ends_with: type[object], table: str, *, when: When = When.AT_ONCE) -> list[Case]:
    """Rows of `script | what the message says`."""
    rows = (line.partition("|") for line in table.strip().splitlines())
    return [Case(script.strip(), ends_with, says.strip(), when) for script, _, says in rows]


CASES = [
    *_cases(
        StartError,
        r"""
        handshake_wrong_version       | speaks protocol '2.0'; this host speaks '1.0'
        handshake_wrong_name          | is other 9; its manifest says handshake_wrong_name 1.0.0
        handshake_wrong_stages        | does not offer the stages act of its manifest; it offers play
        undo_not_said_in_handshake    | says that its stage unact undoes nothing; its manifest says that it undoes act
        runtime_undo_of_no_stage      | there is no stage 'atc' for 'unact' to undo
        handshake_error               | no licence found
        handshake_list                | initialize
        handshake_zero_concurrency    | concurrency
        handshake_text_concurrency    | concurrency
        handshake_twice               | answered before
        handshake_never               | said nothing for 1.5 s before the handshake
        handshake_exit                | no model file
        handshake_over_limit          | frame
        configure_error               | the word list is empty
        configure_exit                | exited with status 9
        greets_on_stdout              | not a JSON message
        speaks_first                  | never asked|answered
        closes_stdout_at_start        | closed its stdout
        closes_stdin_at_start         | said nothing for 1.5 s before the handshake
        floods_stdout_at_start        | frame
        fails_at_once.sh              | libfoo.so.3: cannot open shared object file
        not_executable.sh             | is it executable
        no_interpreter.sh             | no such program, or the interpreter of its first line is missing
        no_such_file.sh               | no such program
        runtime_import_error          | No module named 'no_such_package_anywhere'
        runtime_import_exit           | no GPU here
        runtime_import_exit_hard      | exited with status 3
        runtime_import_segfault       | killed by signal 11
        runtime_no_plugin             | has no 'plugin'
        runtime_not_a_plugin          | is of type object, not penstock_plugin.Plugin
        runtime_two_stages_of_one_name| stage 'act' is declared twice
        runtime_startup_fails         | model.bin
        runtime_startup_hangs         | said nothing for 1.5 s while it was warming up
        """,
    ),
    *_cases(
        RemoteProtocolError,
        r"""
        answers_unknown_id            | never asked
        answers_float_id              | id
        answers_true_id               | id
        answers_string_id             | id
        answers_null_id               | id
        answers_without_id            | id
        answers_huge_id               | id|integer
        answers_negative_id           | never asked
        answers_two_ids               | never asked
        answers_both                  | exactly one of result and error
        answers_neither               | exactly one of result and error
        answers_error_text            | error
        answers_error_code            | error
        answers_old_version           | "jsonrpc": "2.0"
        answers_no_version            | jsonrpc
        answers_extra_member          | method
        answers_not_json              | not a JSON message
        answers_cut_json              | not a JSON message
        answers_batch                 | not a JSON
        answers_number                | not a JSON
        answers_empty_line            | not a JSON message
        answers_carriage_return       | not a JSON message
        answers_nul_bytes             | not a JSON message
        answers_byte_order_mark       | not a JSON message
        result_nan                    | not a JSON message
        result_infinity               | not a JSON message
        result_lone_surrogate         | not a JSON message
        result_deep                   | not a JSON message
        frame_over_limit              | frame of over 1048576 bytes
        frame_with_forged_tail        | frame of over 1048576 bytes
        endless_line                  | frame of over 1048576 bytes
        asks_and_never_reads          | asks and does not read
        """,
    ),
    *_cases(
        BadAnswer,
        """
        result_invalid_utf8           |
        result_overflow               |
        result_deep_payload           | nested
        undo_answers_payload          | an undo answers with `out` or nothing, not with payload, out
        undo_answers_violation        | not with violation
        result_list                   |
        result_unknown_member         | allow
        result_payload_and_patch      | not both
        result_payload_text           |
        result_host_code              | the host's own
        result_violation_without_reason| reason
        """,
    ),
    *_cases(
        WorkerLost,
        """
        undo_dies                     | killed by signal 9
        runtime_undo_exits            | exited with status 5
        exits_in_call                 | the disk is full
        killed_in_call                | killed by signal 9
        segfaults_in_call             | killed by signal 11
        aborts_in_call                | killed by signal 6
        closes_stdout_in_call         | closed its stdout
        leaves_a_grandchild           | exited with status 0
        runtime_exits_hard            | exited with status 5
        """,
    ),
    *_cases(
        DeadlineExceeded,
        """
        undo_hangs                    | no answer within
        runtime_undo_hangs            | no answer within
        hangs_in_call                 | no answer within
        hangs_deaf_to_signals         | no answer within
        spins_in_call                 | no answer within
        closes_stdin_and_hangs        | no answer within
        runtime_async_blocks          | no answer within
        runtime_async_ignores_cancel  | no answer within
        """,
        when=When.AT_DEADLINE,
    ),
    *_cases(
        PluginError,
        """
        undo_of_unknown_fails         | there is no key run/act
        undo_method_unknown           | there is no method stage/compensate
        runtime_undo_modifies         | is an undo and gave payload
        runtime_undo_raises_violation | is an undo and gave violation
        runtime_exits                 | SystemExit: I am done
        runtime_interrupts            | KeyboardInterrupt
        runtime_recurses              | RecursionError
        runtime_unspeakable           | Unspeakable
        runtime_giant_message         | ValueError: xxx
        runtime_returns_dict          | returned dict
        runtime_returns_generator     | returned a generator
        runtime_returns_coroutine     | returned a coroutine
        runtime_returns_set           | cannot be written as JSON
        runtime_returns_nan           | cannot be written as JSON
        runtime_returns_surrogate     | cannot be written as JSON
        runtime_returns_cycle         | cannot be written as JSON
        runtime_over_long_answer      | a frame may have 1048576
        runtime_async_cancels_itself  | cancelled its own call
        """,
    ),
    *_cases(
        StageAnswer,
        """
        polite                        |
        undo_polite                   |
        closes_stderr                 |
        floods_stderr                 |
        noisy_stderr                  |
        asks_the_host                 |
        floods_logs                   |
        logs_nonsense                 |
        answers_byte_by_byte          |
        breeds_deaf_children          |
        stays_after_shutdown          |
        runtime_prints                |
        runtime_reads_stdin           |
        runtime_closes_descriptors    |
        runtime_logs_in_threads       |
        runtime_logs_from_a_fork      |
        runtime_logs_nonsense         |
        runtime_raises_violation      |
        """,
    ),
]
TOLD_BY_OTHERS = {
    "peer",
    "answers_twice",
    "undo_answers_twice",
    "answers_late",
    "exits_between_calls",
    "unsolicited_answers",
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.script)
def test_a_hostile_plugin_harms_its_caller_only(case: Case) -> None:
    """The caller is told the truth in time; the neighbour answers; no process is left."""
    deadline = SHORT_SECONDS if case.when is When.AT_DEADLINE else GENEROUS_SECONDS
    seen = asyncio.run(see(case.script, calls=case.calls, deadline=deadline))

    end = seen.ends[-1]
    assert isinstance(end, case.ends_with), f"{type(end).__name__}: {end}"
    assert not case.says or re.search(case.says, str(end)) or case.says in str(end), str(end)
    assert all(seconds < AT_ONCE_SECONDS for seconds in seen.seconds)
    assert isinstance(seen.neighbour, StageAnswer)
    assert seen.left == []


def test_every_script_is_tried() -> None:
    """A script that no table names proves nothing."""
    named = {case.script.removesuffix(".sh") for case in CASES} | TOLD_BY_OTHERS | {"no_such_file"}
    assert {path.stem for path in PLUGINS.iterdir() if path.is_file()} - named == set()
    assert len(CASES) >= 40


@pytest.mark.parametrize("script", ["answers_twice", "undo_answers_twice", "unsolicited_answers"])
def test_an_answer_too_many_ends_the_worker_and_reaches_no_caller(script: str) -> None:
    """The first call has its answer; the second one is not fed with what was never its own."""
    seen = asyncio.run(see(script, calls=2, deadline=GENEROUS_SECONDS))
    first, second = seen.ends
    assert isinstance(first, StageAnswer)
    assert isinstance(second, CallError) or (isinstance(second, StageAnswer) and second.out is None)
    assert isinstance(seen.neighbour, StageAnswer)
    assert seen.left == []


def test_a_crash_between_calls_costs_at_most_the_next_call() -> None:
    """A call that was written to a dying worker is told at once; another worker takes the others."""
    seen = asyncio.run(see("exits_between_calls", calls=3, deadline=GENEROUS_SECONDS))
    assert isinstance(seen.ends[0], StageAnswer)
    assert all(isinstance(end, StageAnswer | WorkerLost) for end in seen.ends)
    assert all(seconds < AT_ONCE_SECONDS for seconds in seen.seconds)
    assert seen.left == []


def test_an_answer_that_comes_too_late_is_dropped() -> None:
    """It belongs to a call that was given up, and must not be taken for the next one's."""
    seen = asyncio.run(see("answers_late", calls=2, deadline=SHORT_SECONDS))
    assert isinstance(seen.ends[0], DeadlineExceeded)
    assert not (isinstance(seen.ends[1], StageAnswer) and seen.ends[1].out == {"late": True})
    assert seen.left == []
