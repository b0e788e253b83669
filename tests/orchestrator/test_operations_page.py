"""docs/operations.md, and every setting and metric in docs: what is told is there, and what is there is told."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path

import click
import pytest
from door_host import WAIT_SECONDS, Client, Host, serving

from orchestrator.cli.main import penstock
from orchestrator.cli.serve import DRAIN_SECONDS, serve
from orchestrator.metrics.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
DOCS = {path.name: path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md")}
PAGE = DOCS["operations.md"]
EXAMPLE = ROOT / "examples" / "live-reload"

ROOMS = (
    "orchestrator/cli/serve.py",
    "orchestrator/control",
    "orchestrator/engine/engine.py",
    "orchestrator/http",
    "orchestrator/lookout/logbook.py",
    "orchestrator/lookout/taps.py",
    "orchestrator/durable",
    "orchestrator/record/ring.py",
    "orchestrator/revisions",
    "orchestrator/secrets.py",
    "orchestrator/traces.py",
    "isolation/store/folder.py",
    "isolation/store/store.py",
    "isolation/store/uses.py",
    "isolation/store/uv.py",
    "pipelines/body.py",
    "pipelines/plan.py",
)
"""Where the figures are that an operator may meet."""

INNER = {
    "orchestrator/control/looking.py": {"RECENT", "MAX_KNOWN", "MAX_LINES"},
    "orchestrator/control/reasons.py": {"SHOWN_CANDIDATES", "MAX_SHOWN_RUNS"},
    "orchestrator/control/socket.py": {"MAX_ANSWER_BYTES", "BEAT_SECONDS"},
    "orchestrator/control/unix.py": {"MAX_SOCKET_PATH_BYTES"},
    "orchestrator/engine/engine.py": {"PARKED_RUNS"},
    "orchestrator/http/place.py": {"CONNECT_SECONDS"},
    "orchestrator/lookout/logbook.py": {
        "LINE_BYTES",
        "LONGEST_CHARACTERS",
        "LONGEST_FIELDS_BYTES",
        "QUEUED_BYTES",
        "QUEUED_LINES",
    },
    "orchestrator/lookout/taps.py": {"QUEUED_BYTES", "QUEUED_CALLS"},
    "orchestrator/record/ring.py": {"RUNS_ASKED_FOR"},
    "orchestrator/revisions/between.py": {"MAX_LINES"},
    "isolation/store/uses.py": {"RECORD_WAIT_SECONDS"},
    "isolation/store/uv.py": {"KEPT_LINES"},
}
"""Figures in these rooms that show to nobody outside, or only as a list that is cut."""

UNITS = {"": 1, "s": 1, "min": 60, "h": 3600, "d": 86400, "KiB": 2**10, "MiB": 2**20}


def section(title: str) -> str:
    """The text below a heading, with what stands below it."""
    head, _, rest = PAGE.partition(f" {title}\n")
    level = re.search(r"#+$", head)
    assert level is not None, title
    return re.split(rf"^#{{1,{len(level[0])}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of every row of the tables in a text, their heads left out."""
    found = re.findall(r"^\| (.*?) \|$", re.sub(r"^\|.*\n\|[-|]+\|$", "", text, flags=re.MULTILINE), re.MULTILINE)
    return [re.split(r"(?<!\\) \| ?", row) for row in found]


def names(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


# Settings.


def test_the_page_has_every_option_of_serve_and_no_other() -> None:
    told = {
        name.split()[0]: cells[1] for cells in rows(section("Running it").split("###")[0]) for name in names(cells[0])
    }
    options = [each for each in serve.params if isinstance(each, click.Option)]
    assert set(told) == {
        name for each in options for name in (*each.opts, *each.secondary_opts) if name.startswith("--")
    }
    assert float(told["--drain-seconds"]) == DRAIN_SECONDS


def commands(group: click.Group, words: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with its words."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))
        yield " ".join((*words, name)), command


def test_the_command_lines_page_has_every_option_and_no_other() -> None:
    parts = re.split(r"^### ", DOCS["cli.md"].partition("## Input and output")[0], flags=re.MULTILINE)[1:]
    told = {part.partition("\n")[0]: part for part in parts}
    there = dict(commands(penstock, ("penstock",)))
    assert set(told) == set(there)
    for name, command in there.items():
        shown = {word.split()[0] for cells in rows(told[name]) for word in re.split(r"[,/] ", cells[0].strip("`"))}
        options = [each for each in command.params if isinstance(each, click.Option) and each.name != "help"]
        assert shown == {word for each in options for word in (*each.opts, *each.secondary_opts)}, name


def test_the_page_has_every_variable_that_the_host_reads_and_no_other() -> None:
    pattern = re.compile(
        r"""(?:environ(?:ment)?(?:\.get\(|\[)|envvar=)"([A-Z_]+)"(?!\] = )|^\w*_VARIABLE = "([A-Z]\w+)\"""",
        re.MULTILINE,
    )
    files = [path for top in ("orchestrator", "isolation", "pipelines") for path in (ROOT / top).rglob("*.py")]
    hosts = [path for path in files if "runtime" not in path.parts]
    read = {name for path in hosts for pair in pattern.findall(path.read_text("utf-8")) for name in pair if name}
    assert {name for cells in rows(section("Variables")) for name in names(cells[0])} == read - {"HOME"}


def test_the_files_page_has_every_key_of_the_language_and_no_other() -> None:
    """Against the JSON Schema, which editors read."""
    schema = json.loads((ROOT / "orchestrator" / "pipeline-v1.schema.json").read_text("utf-8"))
    there: set[str] = set()

    def walk(node: object) -> None:
        if isinstance(node, dict):
            if isinstance(properties := node.get("properties"), dict):
                there.update(properties)
            for each in node.values():
                walk(each)
        elif isinstance(node, list):
            for each in node:
                walk(each)

    walk(schema)
    assert {names(cells[0])[0] for cells in rows(DOCS["pipeline-file.md"])} == there


def test_every_metric_is_told_and_every_metric_that_is_told_is_there() -> None:
    there = set(CATALOGUE)
    assert {names(cells[0])[0] for cells in rows(DOCS["metrics.md"]) if cells[0].startswith("`penstock_")} == there
    for name, text in DOCS.items():
        for told in re.findall(r"\bpenstock_[a-z_]+\b", text):
            is_module = told.startswith("penstock_plugin") and told not in there
            assert is_module or re.sub(r"_(bucket|sum|count)$", "", told) in there, f"{name}: {told}"


# Figures and codes.


def figures(path: Path) -> set[str]:
    """The names of a module's own numbers."""
    found = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(target, ast.Name) and target.id.isupper() and not target.id.startswith("_"):
            value = getattr(importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts)), target.id)
            found |= {target.id} if isinstance(value, int | float) else set()
    return found


FIGURES = rows(section("Figures"))


@pytest.mark.parametrize("cells", FIGURES, ids=[cells[2].strip("`") for cells in FIGURES])
def test_every_figure_is_that_of_the_code(cells: list[str]) -> None:
    module, name = names(cells[2])[0].split(": ")
    number, _, unit = cells[1].replace(",", "").partition(" ")
    value = getattr(importlib.import_module(module.removesuffix(".py").replace("/", ".")), name)
    assert value == float(number) * UNITS[unit]


def test_every_figure_that_an_operator_may_meet_is_told() -> None:
    told: dict[str, set[str]] = {}
    for cells in FIGURES:
        module, name = names(cells[2])[0].split(": ")
        told.setdefault(module, set()).add(name)
    paths = [path for room in ROOMS for path in ([ROOT / room] if room.endswith(".py") else (ROOT / room).glob("*.py"))]
    for path in paths:
        module = path.relative_to(ROOT).as_posix()
        assert figures(path) == told.get(module, set()) | INNER.get(module, set()), module


def test_every_code_is_one_of_the_hosts() -> None:
    sources = "".join(
        path.read_text("utf-8") for top in ("orchestrator", "isolation") for path in (ROOT / top).rglob("*.py")
    )
    for code in set(re.findall(r"`(penstock\.[a-z_]+)`", PAGE)):
        assert f'"{code}"' in sources, code


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target


# Commands, run one after the other against a host.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "live"
    shutil.copytree(EXAMPLE, folder)
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"PENSTOCK_STATE": str(tmp_path / "state"), "NO_COLOR": "1"}


def told() -> list[tuple[str, list[str]]]:
    """The commands of the page, each with the lines that it shows."""
    found: list[tuple[str, list[str]]] = []
    for line in "".join(re.findall(r"^```console\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)).splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif plain(line):
            found[-1][1].append(plain(line))
    return found


def plain(line: str) -> str:
    """A line without what is different every time: ids, times, who runs the tests, how wide a table is."""
    line = re.sub(r'"run_id":"\w+"', '"run_id":"RUN"', line)
    line = re.sub(r'"since":[\d.]+', '"since":TIME', line)
    line = re.sub(r"\buid:\d+", "uid:0", line)
    line = re.sub(r"\bpid \d+", "pid PID", line)
    line = re.sub(r"\b[0-9a-f]{8,}\b", "ID", line)
    line = re.sub(r"\b\d+ MiB", "SIZE", line)
    line = re.sub(r"\b(\d+m )?\d+s\b", "TIME", line)
    line = re.sub(r"just now|\d+ min ago", "AGE", line)
    return re.sub(r"─+", "─", " ".join(line.split()))


def fits(came: list[str], shown: list[str]) -> bool:
    """Whether the lines are those shown; `...` stands for any number of them."""
    if not shown:
        return not came
    if shown[0] == "...":
        return any(fits(came[skipped:], shown[1:]) for skipped in range(len(came) + 1))
    return came[:1] == shown[:1] and fits(came[1:], shown[1:])


def curl(line: str, socket: Path) -> str:
    """What curl prints, on a machine that does not have it."""
    words = iter(shlex.split(line)[1:])
    method, body, headers, url = "", None, {}, ""
    for word in words:
        if word == "-d":
            body = next(words)
        elif word == "-X":
            method = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word == "--unix-socket":
            next(words)
        elif word != "-s":
            url = word
    client = Client(socket)
    client.request(method or ("GET" if body is None else "POST"), url.removeprefix("http://penstock"), body, headers)
    said = client.getresponse().read().decode()
    client.close()
    return said


def printed(line: str, folder: Path, host: Host, environment: Mapping[str, str]) -> str:
    """What a command prints on stdout. It has to end with 0."""
    if line.startswith("curl ") and shutil.which("curl") is None:
        return curl(line, host.path)
    scripts = sysconfig.get_path("scripts")
    variables = {**os.environ, **environment, "SOCKET": str(host.path), "PATH": f"{scripts}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-c", line],
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        cwd=folder,
        env=variables,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_each_command_does_what_the_page_shows(folder: Path, environment: Mapping[str, str]) -> None:
    (first, *rest) = told()
    assert first == ("penstock serve PATH", [])
    assert len(rest) > 30
    with serving(Path(), environment, "--no-watch", within=folder) as host:
        for line, shown in rest:
            said = printed(line, folder, host, environment).replace(f"{folder}/", "")
            came = [plain(each) for each in said.splitlines() if plain(each)]
            assert not shown or fits(came, shown), f"{line}\n{said}"


def test_the_state_folder_holds_what_the_page_says(folder: Path, environment: Mapping[str, str]) -> None:
    """With the modes that it says, and nothing else."""
    table = {names(cells[0])[0]: int(cells[1], 8) for cells in rows(section("The state folder"))}
    state = Path(environment["PENSTOCK_STATE"]) / "one"
    seen: dict[str, int] = {}

    def look() -> None:
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        for path in state.rglob("*"):
            if not path.is_dir():
                seen[path.relative_to(state).as_posix()] = stat.S_IMODE(path.lstat().st_mode)

    with serving(folder, environment, "--state", state) as host:
        host.call("tool_pre_invoke", {"name": "search", "args": {"q": "the sea"}})
        host.ask("POST", "/v1/commands/freeze", {"reason": "a look"})
        override = {"stage": "guard", "mode": "permissive", "seconds": 60, "reason": "a look"}
        assert host.ask("POST", "/v1/commands/override.set", override)[0] == 200
        file = folder / "pipeline.yaml"
        file.write_text(file.read_text().replace("name: ", "name: another_", 1))
        for command in ("apply", "rollback"):
            assert host.ask("POST", f"/v1/commands/{command}", {})[0] == 200
        look()
    look()
    # The tests' host serves at a socket elsewhere, with its lock beside it.
    elsewhere = {"serve.sock", "serve.sock.lock"}
    for name, mode in seen.items():
        (pattern,) = [each for each in table if fnmatch(name, each)]
        assert mode == table[pattern], name
    assert {pattern for pattern in table if not any(fnmatch(name, pattern) for name in seen)} == elsewhere


def test_a_program_that_is_the_host_itself_runs_as_it_is_written(tmp_path: Path) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    shutil.copytree(EXAMPLE, tmp_path / "live")
    environment = {**os.environ, "PENSTOCK_STATE": str(tmp_path / "state"), "PENSTOCK_STORE": str(tmp_path / "store")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command,
        cwd=tmp_path / "live",
        env=environment,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert (done.stdout, done.returncode) == ('allow {"name":"search","args":{"q":"sea"}}\n', 0), done.stderr
