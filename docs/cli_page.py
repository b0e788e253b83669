"""Writes docs/cli.md from the command tree itself: `python docs/cli_page.py`. A test holds the page equal to this."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from orchestrator.cli.failures import Exit
from orchestrator.cli.main import penstock

PAGE = Path(__file__).parent / "cli.md"

EXITS: Mapping[Exit, str] = {
    Exit.FINE: "fine",
    Exit.FAILED: "failed: a malformed input line, a failed test or check, a denial with `--fail-on-deny`, "
    "an environment or a worker that could not be had, a command on runs, breakers or plugins that was refused, "
    "a run that is parked after `runs resume` or `runs compensate`",
    Exit.USAGE: "wrong usage: no such command, option, file, pipeline or test; no pipeline file where one is needed",
    Exit.CONFIGURATION: "wrong configuration: the pipeline file, what it includes or a manifest is wrong, also where a "
    "host says so of what `plan` or `apply` would put into service",
    Exit.INTERRUPTED: "interrupted by Ctrl-C, after the workers were ended",
    Exit.PIPE_CLOSED: "whoever read the output went away",
    Exit.TERMINATED: "ended by SIGTERM, after the workers were ended",
}

RUN_MEMBERS: Mapping[str, str] = {
    "run_id": "the run's name; null when no pipeline applied",
    "pipeline": "its name; null when no pipeline applied",
    "hook": "as in the line",
    "verdict": "`allow`, `modify` or `deny`; without a pipeline that of `unmatched`; null while there is none",
    "status": "how the run stands: `running`, `confirming` (its caller has not confirmed what it allowed), "
    "`completed`, `undone` or `parked`; null when no pipeline applied",
    "reason": 'why it stands so: what it was parked or undone for, else the code of its denial, else `""`',
    "durable": "whether the run is in the journal",
    "began": "when, in seconds since 1970; null when no pipeline applied",
    "request_id": 'the `request_id` of its context, `""` where it had none, and when no pipeline applied',
    "trace": 'the W3C `traceparent` of its caller, `""` where it gave none',
    "revision": "the number of the revision that it ran on, 0 where that is not known",
    "violation": "why it was denied: `code`, `reason`, `description`, `details`, `http_status`, `http_headers`, "
    "`retry_after_ms`; else null",
    "error": "what went wrong in a failed run: `class`, `code`, `message`; else null. A failed run is denied",
    "duration_ms": "from the start of the run to its verdict; null while there is none",
    "stages": "each stage by its id, in the order of the plan; see below",
    "finally": "what came of each stage of `finally`, by its id: `state` (`succeeded`, `failed` or `skipped`), "
    "`attempts`, `error`",
    "payload": "as the pipeline left it; as it came where the verdict is `deny`",
    "hook_verdict": "only on the last object of a line: the verdict of the whole hook",
}

STAGE_MEMBERS: Mapping[str, str] = {
    "state": "`succeeded`, `denied`, `failed`, `skipped` or `cancelled`",
    "why": "`when`, `need` or `disabled` for a skipped stage, `need` or `error` for a failed one, `violation`, `ended` "
    "for one that the end of the run overtook; else null",
    "duration_ms": "from the moment the stage was taken up to its answer",
    "queued_ms": "the part of it before the call was written to a worker",
    "attempts": "how often a plugin, or a mock, was asked",
    "generation": "the plugin and the digest of the files that answered; null when none was asked",
    "worker": "the worker that answered; null when none was asked",
    "version": "the version of that plugin; null when none was asked",
    "mode": "the mode of the stage, or of the override of it that applied; null when it was never taken up",
    "config": "which of the plugin's configurations the call named, likewise",
    "effect": "`done`, or `unknown` where nobody can tell; `none` where nothing has to be undone",
    "undo": "what became of its compensation, see below; null where none was due",
    "violation": "as above, also where the mode only records it",
    "error": "as above, also where `on_error: continue` went past it",
    "at": "where the stage stands in the pipeline file: FILE:LINE:COLUMN",
    "override": "why its mode was changed by command; null where it was not",
    "out": "the values the stage put out, or its `otherwise`; else null",
    "signed": "only where the host signed values of `out`: each statement, a JWS, by the value's name",
}

UNDO_MEMBERS: Mapping[str, str] = {
    "state": "`running`, `done`, or `parked`: it did not succeed, or waits for one that did not; left to a human",
    "plugin": "whose stage undoes",
    "stage": "which of its stages",
    "key": "the key of the undo itself, the same on every attempt",
    "undoes": "the key that the stage was called with: RUN/STAGE",
    "attempts": "how often the plugin was asked",
    "error": "why it is parked; else null",
    "input": "what `in` of `compensate` gave, as the plugin was sent it",
}

KEPT_MEMBERS: Mapping[str, str] = {
    "events": "of a journaled run, by `runs show`: every event, with `seq`, `kind` and `at` (seconds since 1970)",
    "unread": "why the stages of a journaled run cannot be shown: its plan is not to be had, or an event is damaged",
    "undos": "beside `unread`: what each undo was sent, by the `number` of its stage, with `attempts` and `input`",
}

_HEAD = """\
# Command line

<!-- Made by `python docs/cli_page.py` from the commands themselves. -->

Data goes to stdout, everything else to stderr. Every command that reads has `--json`; with it an error is also one
object on stdout, `{"error": {"code": ..., "message": ..., "hint": ...}}` with a code of errors.md, and mistakes of
files are the list of `penstock lint`. Colours and progress bars show on a terminal only; `NO_COLOR` turns colours
off. `PENSTOCK_STORE` names the folder of the environments, otherwise it is `penstock` in the user's cache folder.
`PENSTOCK_STATE` names the folder of journals, of what is remembered of runs and of what plugins keep for themselves,
otherwise it is `penstock` in the user's state folder (`~/.local/state`). `penstock completion SHELL` prints a script
that completes commands, options, ids of runs and the names in your files.

"""

_RUN = """\
## Input and output of `penstock run`

A line of the input is one call. `context` may be left out; blank lines are passed over. Another key, an unknown hook,
a payload that is no object or that no door would take (not UTF-8, not finite, too deep or too large) makes a line
malformed: `malformed line: FILE:LINE: why` on stderr, the rest goes on, and the exit status is 1.

```json
{"hook": "tool_pre_invoke", "payload": {"name": "search", "args": {"q": "..."}}, "context": {"tenant": "acme"}}
```

`idempotency_key` is the caller's own name for the call, a string: a durable pipeline answers a key that it has seen
with the run that has it, and calls nothing again; with another payload or context the call is denied
(`penstock.key_conflict`). Pipelines with `recover: resume` ask for one. Others take no notice of it.

With `--json`, each pipeline that took a line gives one object on one line of stdout. Objects come in the order of the
input, with `--concurrency` too, and each is written as soon as those before it are.

"""

_RUNS = """\
## What is known of runs

A host is a process that serves a pipeline file: `penstock serve`, `penstock run` as long as it reads its input, or a
program that embeds the orchestrator. It takes commands over `control.sock` in the state folder of its file, which is
its owner's alone; every command that is about a host finds it there. Without a host, `why`, `history`, `diff`, `runs
list`, `show`, `park`, `prune` and `rekey` work on what the last one left, and `resume` and `compensate` start the
plugins of the file for as long as they need them, which takes up whatever else the last host left unfinished, as every
start does. Of two hosts of one file only the first is found; a second one of a file with durable pipelines does not
start.

Durable runs are in the journal, with their payloads, until they are pruned. Of every run, durable or not, a host
remembers a summary: the newest 10,000, longer the last 2,000 that were denied, failed, undone or parked, and the 100
slowest. It writes them to `runs.jsonl` in the state folder when it ends; a host that is killed takes them along.

`runs list --json` and `runs show --json` have the members above. A summary lacks `payload`, `hook_verdict`, `out`, and
`input` of an undo; of a violation it has `code` and `reason`, and of what plugins said the first line, at most 200
characters. `runs show` of a durable run has everything but `hook_verdict`; how long each stage took is known as long as
its summary is. Further there are:

"""

_TABLE_DOC = """\
Without `--json`, a table says for each hook and pipeline how many runs there were and what they came to. `failed`
counts runs that an error denied; `deny` counts those that a violation denied. The lines of stages say how often a
plugin was asked, how often the stage denied, and how often it failed, errors that `on_error: continue` went past
included. p50 and p99 are right to one per cent.

"""


def cli_page() -> str:
    """Render docs/cli.md."""
    return "".join((_HEAD, *_commands(), _RUN, *_members(), _TABLE_DOC, *_kept(), *_exits()))


def _commands() -> Iterator[str]:
    root = click.Context(penstock, info_name="penstock")
    yield "## Commands\n\n"
    yield "".join(
        f"- [`penstock {name}`](#penstock-{name}): {entry.short_help}\n" for name, entry in penstock.table.items()
    )
    yield "\n"
    for name in penstock.list_commands(root):
        command = penstock.get_command(root, name)
        assert command is not None
        yield from _command(command, click.Context(command, info_name=name, parent=root))


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"### {context.command_path}\n\n```\n{_usage(command, context)}\n```\n\n"
    yield _text(command)
    options = [option for option in command.params if isinstance(option, click.Option)]
    if options:
        yield "| option | |\n|---|---|\n"
        yield "".join(_option(option, context) for option in options)
        yield "\n"
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from _command(child, click.Context(child, info_name=name, parent=context))


def _usage(command: click.Command, context: click.Context) -> str:
    return " ".join((context.command_path, *command.collect_usage_pieces(context)))


def _text(command: click.Command) -> str:
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    return "".join(_paragraph(text) for text in paragraphs)


def _paragraph(text: str) -> str:
    if text.startswith("\b\n"):
        return f"```\n{text[2:]}\n```\n\n"
    return f"{text}\n\n"


def _option(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    assert record is not None
    names, meaning = (part.replace("|", "\\|") for part in record)
    return f"| `{names}` | {meaning} |\n"


def _members() -> Iterator[str]:
    yield "| member | |\n|---|---|\n"
    yield "".join(f"| `{name}` | {meaning} |\n" for name, meaning in RUN_MEMBERS.items())
    yield "\nEach stage has:\n\n| member | |\n|---|---|\n"
    yield "".join(f"| `{name}` | {meaning} |\n" for name, meaning in STAGE_MEMBERS.items())
    yield "\nEach `undo` has:\n\n| member | |\n|---|---|\n"
    yield "".join(f"| `{name}` | {meaning} |\n" for name, meaning in UNDO_MEMBERS.items())
    yield "\n"


def _kept() -> Iterator[str]:
    yield f"{_RUNS}| member | |\n|---|---|\n"
    yield "".join(f"| `{name}` | {meaning} |\n" for name, meaning in KEPT_MEMBERS.items())
    yield "\n"


def _exits() -> Iterator[str]:
    yield "## Exit status\n\n"
    yield "| status | |\n|---|---|\n"
    yield "".join(f"| {status.value} | {meaning} |\n" for status, meaning in EXITS.items())


if __name__ == "__main__":
    PAGE.write_text(cli_page(), encoding="utf-8")
