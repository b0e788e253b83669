"""Writes the pages that are made from tables: `python docs/generate.py`. A test holds the pages equal to them."""

from __future__ import annotations

import inspect
import re
import runpy
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from isolation import supervision
from isolation.errors import ConfigureError, EnvironmentBuildError, ManifestError, StartError
from isolation.template import TemplateError
from orchestrator.cli.failures import BUG, SYSTEM
from orchestrator.control.refusal import REFUSALS
from orchestrator.control.socket import HostGone, HostSilent, NoHost
from orchestrator.door import DoorError
from orchestrator.durable.durability import RunNotHad, RunStands
from orchestrator.engine.engine import UnknownHook, UnknownPipeline
from orchestrator.faults import CLASSES, StageFault
from orchestrator.faults import CODES as FAULTS
from orchestrator.http.failures import FAILURES
from orchestrator.http.place import SocketHeld
from orchestrator.journal import errors as journal_errors
from orchestrator.record.history import NoSuchRun, SeveralRuns
from orchestrator.resilience import states
from orchestrator.resilience.retry import Retries
from orchestrator.resilience.witness import counts
from orchestrator.revisions.history import NoSuchRevision
from orchestrator.revisions.selftest import SelfTestFailed
from orchestrator.secrets import SecretError
from orchestrator.signing.key import SigningKeyError
from orchestrator.state import StateHeld
from pipelines.cel.functions import FUNCTIONS
from pipelines.codes import GROUPS
from pipelines.file.policies import RetryClass
from pipelines.hooks import CATALOGUE, CONTEXT, Field, Hook
from pipelines.plan import Jitter, RetryPolicy
from pipelines.run import phase_diagram, undo_diagram

PAGES = Path(__file__).parent

_HEAD = """\
# Hooks

<!-- Made by `python docs/generate.py` from pipelines/hooks.py. -->

A hook is a point where the gateway asks. This page is the catalogue: what each hook hands over, what is answered, what
becomes of a violation. `field?` may be absent or null. A pipeline file may declare hooks of its own, at the end.

A stage in `mode: enforce` on a hook that **cannot deny** is refused: the gateway would not listen.
On an **admission** hook, nothing is let in that no pipeline judged, once the file has a pipeline for it
(`hooks: {NAME: {unmatched: allow}}` says otherwise). Where a plugin of the file offers an **admission stage** on the
hook (`admits = true` in its manifest), nothing is let in without it: `penstock lint` refuses every way to an allow on
which no enforcing admission stage has succeeded (`unguarded`).

## Context

Every hook comes with the same context. Absent texts are `""`.

"""

_MADE = "<!-- Made by `python docs/generate.py` from pipelines/cel/functions.py. -->"
_END = "<!-- /Made -->"

_TAIL = """\
## Hooks of your own

```yaml
hooks:
  invoice_pre_send:
    summary: Before an invoice leaves the house.
    payload: { number: string, "total?": double, buyer: { id: string, "country?": string } }
    can_deny: true
    denial: the invoice is not sent
    unmatched: deny
```

Kinds are `string`, `int`, `double`, `bool`, `object`, `list` and `any`; an object with members written out holds
those and no others. Any of these keys but `unmatched` makes an unknown name a hook of your own; where nothing else is
said of it, the name is taken for a slip. Without `payload`, any payload fits. `answer` is written in the same way,
where the answer is not the payload.
"""


def hooks_page() -> str:
    """Render docs/hooks.md."""
    return "".join([_HEAD, _fields(CONTEXT), "\n", *_families(CATALOGUE.values()), _TAIL])


def _families(hooks: Iterable[Hook]) -> Iterator[str]:
    family = ""
    for hook in hooks:
        if hook.family != family:
            family = hook.family
            yield f"## {family}\n\n"
        yield _hook(hook)


def _hook(hook: Hook) -> str:
    traits = ["can deny" if hook.can_deny else "**cannot deny**", *(["admission"] if hook.admission else [])]
    lines = [
        f"### `{hook.name}`\n",
        f"{hook.doc} ({', '.join(traits)})\n",
        _fields(hook.payload),
        f"- A denial: {hook.denial}.",
        f"- A change is taken of: {_writable(hook)}.",
    ]
    answer = "the payload." if hook.answer is None else "\n\n" + _fields(hook.answer)
    return "\n".join([*lines, f"- Answered: {answer}"]).rstrip() + "\n\n"


def _writable(hook: Hook) -> str:
    if hook.writable is None:
        return "every field"
    return ", ".join(f"`{name}`" for name in sorted(hook.writable)) or "nothing"


def _fields(fields: tuple[Field, ...]) -> str:
    rows = ["| field | kind | |", "|---|---|---|", *(row for field in fields for row in _rows(field, ""))]
    return "\n".join(rows) + "\n"


def _rows(field: Field, prefix: str) -> Iterator[str]:
    name = f"{prefix}{field.name}"
    yield f"| `{name}{'' if field.required else '?'}` | {field.kind.value} | {field.doc} |"
    for inner in field.fields:
        yield from _rows(inner, f"{name}.")


def expressions_page() -> str:
    """Render docs/expressions.md: the page as it stands, with its table of functions made anew."""
    page = (PAGES / "expressions.md").read_text(encoding="utf-8")
    head, _, rest = page.partition(_MADE)
    rows = [f"| `{name}` | {text.replace('|', chr(92) + '|')} |" for name, text in FUNCTIONS.items()]
    table = "\n".join(["| function | what it does |", "|---|---|", *rows])
    return f"{head}{_MADE}\n{table}\n{_END}{rest.partition(_END)[2]}"


_ERRORS = """\
# Problems of a pipeline file

<!-- Made by `python docs/generate.py` from pipelines/codes.py. -->

`penstock lint`, `run` and `test` read a file in the same way and report every mistake at once, each on one line:

```text
FILE:LINE:COLUMN: CODE path: message; did you mean 'word'?
```

Lines and columns count from 1 and point at the key or the value that is wrong, in the file, include, profile or
manifest that says it. A file with a mistake is refused as a whole, with exit status 78. A warning refuses nothing.

"""


_DENIALS = """
# Denials of the host

A run that fails is denied, and the violation then has one of these codes, from `orchestrator/faults.py`; its `details`
name the pipeline and the stage. A plugin's own codes never begin with `penstock.`.

"""

_CLASSES = """
The error of a stage also has a class, which `fallback.on` may name:

"""


def errors_page() -> str:
    """Render docs/errors.md."""
    return _ERRORS + "\n".join(_group(title, codes) for title, codes in GROUPS.items()) + _denials() + _failures()


def _denials() -> str:
    codes = "".join(f"| `{code}` | {sentence} |\n" for code, sentence in FAULTS.items())
    classes = "".join(f"| `{name}` | `{code}` |\n" for name, code in CLASSES.items())
    head = "| code | |\n|---|---|\n"
    return f"{_DENIALS}{head}{codes}{_CLASSES}| class | code of the denial |\n|---|---|\n{classes}"


COMMAND_ERRORS = (
    NoHost,
    HostGone,
    HostSilent,
    NoSuchRun,
    SeveralRuns,
    RunNotHad,
    RunStands,
    EnvironmentBuildError,
    StartError,
    ConfigureError,
    ManifestError,
    TemplateError,
    UnknownHook,
    UnknownPipeline,
    DoorError,
    StateHeld,
    SocketHeld,
    SigningKeyError,
    SecretError,
    SelfTestFailed,
    NoSuchRevision,
)

_SYSTEM = "The operating system refused something; the message is its own."
_BUG = "What should not have happened; `penstock --traceback ...` shows where."

_COMMANDS = """
# Failures of commands

A command that fails says so in one line on stderr, with one of these codes in brackets, mostly with a hint on the next
line, and ends with status 1. On the control socket of a host the same codes stand in `error.code`.

"""

_JOURNAL = """
## The journal

Nothing is repaired or dropped by itself: what is not right is refused before anything is changed. Where a run is denied
because of one of these, its code is `penstock.journal`, and the message says which.

"""

_HTTP = """
# Failures of the HTTP door

Every call that the door of `penstock serve` takes is answered with status 200, whatever the verdict. Anything else
comes as `{"error": {"code", "message", "hint"}}`, with one of these codes. A command that is refused has one of the
codes above: status 404 where it begins with `penstock.unknown_`, 400 for `penstock.bad_command`, else 409.

"""


def _failures() -> str:
    commands = {kind.code: _sentence(kind) for kind in COMMAND_ERRORS} | dict(REFUSALS) | {SYSTEM: _SYSTEM, BUG: _BUG}
    kinds = (
        kind for name in journal_errors.__all__ if name != "JournalError" for kind in [getattr(journal_errors, name)]
    )
    journal = {kind.code: _sentence(kind) for kind in kinds}
    return f"{_COMMANDS}{_table(commands)}{_JOURNAL}{_table(journal)}{_http()}"


def _http() -> str:
    rows = "".join(f"| `{code}` | {status} | {sentence} |\n" for code, (status, sentence) in FAILURES.items())
    return f"{_HTTP}| code | status | |\n|---|---|---|\n{rows}"


def _sentence(kind: type[Exception]) -> str:
    """The first sentence of what the class says of itself."""
    text = inspect.getdoc(kind)
    assert text is not None
    return " ".join(text.split()).partition(". ")[0].rstrip(".") + "."


def _table(codes: Mapping[str, str]) -> str:
    rows = "".join(f"| `{code}` | {sentence} |\n" for code, sentence in codes.items())
    return f"| code | |\n|---|---|\n{rows}"


def _group(title: str, codes: Mapping[str, str]) -> str:
    rows = "".join(f"| `{code}` | {sentence} |\n" for code, sentence in codes.items())
    return f"## {title}\n\n| code | |\n|---|---|\n{rows}"


_PART = re.compile(r"(<!-- Made by `python docs/generate.py`: (\w+) -->\n).*?(?=<!-- /Made -->)", re.DOTALL)


def resilience_page() -> str:
    """Render docs/resilience.md: the page as it stands, with its diagrams and tables made anew."""
    parts: Mapping[str, Callable[[], str]] = {
        "retries": _retries,
        "counts": _counts,
        "breaker": lambda: _mermaid(states.diagram()),
        "supervision": lambda: _mermaid(supervision.diagram()),
        "undo": lambda: _mermaid(undo_diagram()),
        "phases": lambda: _mermaid(phase_diagram()),
    }
    page = (PAGES / "resilience.md").read_text(encoding="utf-8")
    return _PART.sub(lambda found: f"{found[1]}{parts[found[2]]()}", page)


def _mermaid(diagram: str) -> str:
    return f"```mermaid\n{diagram}\n```\n"


def _fault(kind: str, *, sent: bool) -> StageFault:
    return StageFault(kind, CLASSES[kind], "", sent)


def _retries() -> str:
    """Ask the policy itself, about each class that `on` may name."""
    classes = [one.value for one in RetryClass]
    named = RetryPolicy("", 2, frozenset(classes), 1.0, 1.0, 1.0, Jitter.NONE)

    def answer(kind: str, *, idempotent: bool, sent: bool) -> str:
        trail = Retries(named, idempotent=idempotent, draw=lambda low, high: high).begin()
        return "no" if trail.pause(_fault(kind, sent=sent)) is None else "yes"

    rows = [
        f"| `{kind}` | {answer(kind, idempotent=False, sent=True)} | {answer(kind, idempotent=True, sent=True)} "
        f"| {answer(kind, idempotent=False, sent=False)} |"
        for kind in classes
    ]
    head = (
        "| class, named by `on` | sent, stage not idempotent | sent, stage idempotent | never sent |\n|---|---|---|---|"
    )
    return "\n".join([head, *rows, ""])


def _counts() -> str:
    """Ask what a breaker makes of each class."""
    rows = [
        f"| `{kind}` | {'a failure' if counts(_fault(kind, sent=True)) else 'nothing'} |"
        for kind in (one.value for one in RetryClass)
    ]
    return "\n".join(["| class | counts as |", "|---|---|", *rows, ""])


def pages() -> dict[str, str]:
    """Return every generated page by its file name."""
    file_page = runpy.run_path(str(PAGES / "file_page.py"))["file_page"]
    openapi = runpy.run_path(str(PAGES / "api_page.py"))["openapi_json"]
    metrics_page = runpy.run_path(str(PAGES / "metrics_page.py"))["metrics_page"]
    made = {"hooks.md": hooks_page(), "errors.md": errors_page(), "expressions.md": expressions_page()}
    made |= {"pipeline-file.md": file_page(), "resilience.md": resilience_page(), "metrics.md": metrics_page()}
    return made | {"openapi.json": openapi()}


if __name__ == "__main__":
    for name, text in pages().items():
        (PAGES / name).write_text(text, encoding="utf-8")
