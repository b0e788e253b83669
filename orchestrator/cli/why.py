"""`penstock why`: the stage that decided a run, why, and what differs since it last allowed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from orchestrator.cli.completing import run_ids
from orchestrator.cli.failures import Exit, printable, write
from orchestrator.cli.options import EXISTING, json_option, state_option

__all__ = ["sentences", "why"]

Record = Mapping[str, object]

_VERDICTS = {"allow": "green", "modify": "cyan", "deny": "red"}


@click.command(short_help="Say why a run came out as it did.")
@click.argument("id", metavar="ID", shell_complete=run_ids)
@click.argument("path", metavar="[PATH]", type=EXISTING, default=Path())
@state_option
@json_option("Print it as one JSON object.")
def why(id: str, path: Path, state: Path | None, as_json: bool) -> Exit:
    """Name the stage that decided, where it stands in the file, why it did so, who answered, and what differs since the
    same stage last had nothing against a run of its pipeline.

    ID is the id of a run or of a request, or the end of one. Of a request that several runs belong to, the one that
    denied is explained, and the others are listed.
    """
    from orchestrator.cli.commanding import command

    found = command(path, state, "why", {"id": id}, as_json=as_json)
    assert isinstance(found, Mapping)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        verdict = str(found.get("verdict"))
        first, *rest = sentences(found, time.time())
        write(click.style(printable(first), bold=True, fg=_VERDICTS.get(verdict)))
        for line in rest:
            write(printable(line))
    return Exit.FINE


def sentences(found: Record, now: float) -> Iterator[str]:
    """The answer to `why` in words, a line each."""
    yield _head(found, now)
    yield from _reason(found)
    yield from _who(found)
    yield from _since(found, now)
    for note in _list(found, "notes"):
        yield f"also {_note(note)}"
    others = _list(found, "others")
    if others:
        yield "other runs of the request:"
    for other in others:
        yield f"  {other.get('run_id')}  {other.get('pipeline')} on {other.get('hook')}  {other.get('verdict')}"


def _head(found: Record, now: float) -> str:
    from orchestrator.cli.env import age

    what = f"run {found['run_id']}" if found.get("run_id") else f"request {found.get('request_id')}"
    request = f" (request {found['request_id']})" if found.get("run_id") and found.get("request_id") else ""
    pipeline = f" {found['pipeline']}" if found.get("pipeline") else ""
    began = found.get("began")
    when = f", {age(float(began), now)}" if isinstance(began, int | float) else ""
    verdict = found.get("verdict") or "no verdict yet"
    status = found.get("status")
    standing = f", {status}" if status not in (None, "completed") else ""
    return f"{verdict}: {what}{request}{pipeline} on {found.get('hook')}{standing}{when}"


def _reason(found: Record) -> Iterator[str]:
    from orchestrator.lookout.why import KINDS

    kind = str(found.get("why"))
    words = KINDS.get(kind, kind)
    stage = found.get("stage")
    yield f"stage {stage} decided: {words} [{kind}]" if stage else f"{words} [{kind}]"
    if found.get("needed"):
        yield f"  it needed {found['needed']}"
    said = ": ".join(str(part) for part in (found.get("code"), found.get("reason")) if part)
    if said:
        yield f"  {said}"
    if found.get("at"):
        yield f"  at {found['at']}"
    if found.get("override"):
        yield f"  an override was in force: {found['override']}"
    breaker = found.get("breaker")
    if isinstance(breaker, Mapping):
        yield f"  its breaker is {breaker.get('state')} now: {breaker.get('failures')} of {breaker.get('calls')} failed"


def _who(found: Record) -> Iterator[str]:
    facts = []
    if found.get("generation"):
        version = f" ({found['version']})" if found.get("version") else ""
        facts.append(f"{found['generation']}{version}")
    facts += [f"worker {found['worker']}"] if found.get("worker") else []
    attempts = found.get("attempts")
    if found.get("why") == "breaker" and not found.get("worker"):
        attempts = 0  # the breaker was asked
    if isinstance(attempts, int):
        facts.append("1 attempt" if attempts == 1 else f"{attempts} attempts" if attempts else "nobody was asked")
    facts += [f"mode {found['mode']}"] if found.get("mode") else []
    facts += [f"revision {found['revision']}"] if found.get("revision") else []
    if facts:
        yield f"  {', '.join(facts)}"


def _since(found: Record, now: float) -> Iterator[str]:
    from orchestrator.cli.env import age

    if not found.get("stage"):
        return
    before = found.get("last_allowed")
    if not isinstance(before, Mapping):
        yield f"no earlier run is remembered in which {found['stage']} had nothing against it"
        return
    began = before.get("began")
    when = age(float(began), now) if isinstance(began, int | float) else ""
    changed = found.get("changed")
    lines = [str(line) for line in changed] if isinstance(changed, list) else []
    head = f"{found['stage']} last had nothing against run {before.get('run_id')}, {when}"
    yield f"{head}; since then differs:" if lines else f"{head}; nothing of it differs since then but the call itself"
    for line in lines:
        yield f"  {line}"


def _note(note: Record) -> str:
    from orchestrator.lookout.why import KINDS

    said = ": ".join(str(part) for part in (note.get("code"), note.get("reason")) if part)
    kind = str(note.get("why"))
    where = f" at {note['at']}" if note.get("at") else ""
    where += f", overridden: {note['override']}" if note.get("override") else ""
    return f"{note.get('stage')} {note.get('state')}: {KINDS.get(kind, kind)}{f' ({said})' if said else ''}{where}"


def _list(found: Record, name: str) -> list[Record]:
    value = found.get(name)
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
