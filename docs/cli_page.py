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
    "an environment or a worker that could not be had",
    Exit.USAGE: "wrong usage: no such command, option, file, pipeline or test",
    Exit.CONFIGURATION: "wrong configuration: the pipeline file, what it includes or a manifest is wrong",
    Exit.INTERRUPTED: "interrupted by Ctrl-C, after the workers were ended",
    Exit.PIPE_CLOSED: "whoever read the output went away",
    Exit.TERMINATED: "ended by SIGTERM, after the workers were ended",
}

RUN_MEMBERS: Mapping[str, str] = {
    "run_id": "the run's name; null when no pipeline applied",
    "pipeline": "its name; null when no pipeline applied",
    "hook": "as in the line",
    "verdict": "`allow`, `modify` or `deny`; without a pipeline that of `unmatched`",
    "payload": "as the pipeline left it; as it came where the verdict is `deny`",
    "violation": "why it was denied: `code`, `reason`, `description`, `details`, `http_status`, `http_headers`, "
    "`retry_after_ms`; else null",
    "error": "what went wrong in a failed run: `class`, `code`, `message`; else null. A failed run is denied",
    "duration_ms": "from the start of the run to its verdict",
    "stages": "each stage by its id, in the order of the plan; see below",
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
    "violation": "as above, also where the mode only records it",
    "error": "as above, also where `on_error: continue` went past it",
    "out": "the values the stage put out, or its `otherwise`; else null",
}

_HEAD = """\
# Command line

<!-- Made by `python docs/cli_page.py` from the commands themselves. -->

Data goes to stdout, everything else to stderr. Every command that reads has `--json`. Colours and progress bars show
on a terminal only; `NO_COLOR` turns colours off. `PENSTOCK_STORE` names the folder of the environments, otherwise it
is `penstock` in the user's cache folder. `penstock completion SHELL` prints a script that completes commands, options
and the names in your files.

"""

_RUN = """\
## Input and output of `penstock run`

A line of the input is one call. `context` may be left out; blank lines are passed over. Another key, an unknown hook,
a payload that is no object or that no door would take (not UTF-8, not finite, too deep or too large) makes a line
malformed: `malformed line: FILE:LINE: why` on stderr, the rest goes on, and the exit status is 1.

```json
{"hook": "tool_pre_invoke", "payload": {"name": "search", "args": {"q": "..."}}, "context": {"tenant": "acme"}}
```

With `--json`, each pipeline that took a line gives one object on one line of stdout. Objects come in the order of the
input, with `--concurrency` too, and each is written as soon as those before it are.

"""

_TABLE_DOC = """\
Without `--json`, a table says for each hook and pipeline how many runs there were and what they came to. `failed`
counts runs that an error denied; `deny` counts those that a violation denied. The lines of stages say how often a
plugin was asked, how often the stage denied, and how often it failed, errors that `on_error: continue` went past
included. p50 and p99 are right to one per cent.

## Exit status

"""


def cli_page() -> str:
    """Render docs/cli.md."""
    return "".join((_HEAD, *_commands(), _RUN, *_members(), _TABLE_DOC, *_exits()))


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
    yield "\n"


def _exits() -> Iterator[str]:
    yield "| status | |\n|---|---|\n"
    yield "".join(f"| {status.value} | {meaning} |\n" for status, meaning in EXITS.items())


if __name__ == "__main__":
    PAGE.write_text(cli_page(), encoding="utf-8")
