"""status, top, logs, tap and why, as an operator uses them against a host in service."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from shop import PENSTOCK, WAIT_SECONDS, Host, serving, write_shop

from orchestrator.revisions.history import Entry, History, Outcome
from orchestrator.state import HISTORY_FOLDER

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]
Record = dict[str, object]

BAD: Mapping[str, object] = {"name": "t", "args": {"q": "something bad"}}


@pytest.fixture
def host(guard: Path, environment: Mapping[str, str]) -> Iterator[Host]:
    """A host of a file whose plugin logs what is loud and denies what is bad."""
    with serving(guard, environment) as process:
        call(process, "fine")  # from here on it is found
        yield process


def call(host: Host, text: str, request: str = "", hook: str = "tool_pre_invoke", name: str = "t") -> Record:
    """One call of the guard."""
    return host.call(hook, payload={"name": name, "args": {"q": text}}, context={"request_id": request})


@contextmanager
def watching(environment: Mapping[str, str], *words: object) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on until somebody ends it."""
    pipe = subprocess.PIPE
    command = [str(PENSTOCK), *map(str, words)]
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, bufsize=1, env=dict(environment)) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line, or nothing where none comes in time."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], WAIT_SECONDS)
    return process.stdout.readline() if ready else ""


def interrupted(process: subprocess.Popen[str]) -> int:
    """The exit status after Ctrl-C."""
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=WAIT_SECONDS)
    return process.returncode


def shown(done: Done) -> Record:
    """What a command printed as JSON."""
    assert done.returncode == 0, done.stderr
    record: Record = json.loads(done.stdout)
    return record


# Status.


def test_the_status_says_who_serves_and_how_its_plugins_stand(penstock: Run, guard: Path, host: Host) -> None:
    call(host, "fine")
    status = shown(penstock("status", guard, "--json"))
    assert (status["name"], status["file"]) == ("guard", str(guard / "pipeline.yaml"))
    about, plugins = status["host"], status["plugins"]
    assert isinstance(about, dict) and isinstance(plugins, list)
    assert about["pid"] == host.process.pid
    (words,) = plugins
    assert (words["plugin"], words["version"], words["ready"], words["wanted"]) == ("words", "1.0.0", 1, 1)
    assert (words["restarts"], words["owed"], len(words["workers"])) == (0, 0, 1)
    assert words["generation"].startswith("words@")
    assert status["breakers"] == []
    table = penstock("status", guard).stdout
    assert f"guard  {guard}/pipeline.yaml\npid {host.process.pid}, up " in table
    assert "revision 1 since just now by start" in table


def test_a_worker_that_died_is_counted(penstock: Run, guard: Path, host: Host) -> None:
    call(host, "die")
    while True:
        status = shown(penstock("status", guard, "--json"))
        plugins = status["plugins"]
        assert isinstance(plugins, list)
        if plugins[0]["ready"]:
            break
    assert plugins[0]["restarts"] == 1


def test_the_status_is_watched_until_somebody_leaves(
    penstock: Run, guard: Path, host: Host, environment: Mapping[str, str]
) -> None:
    with watching(environment, "status", guard, "--watch", "--json") as process:
        first, second = json.loads(line_of(process)), json.loads(line_of(process))
        assert first["host"]["pid"] == second["host"]["pid"] == host.process.pid
        assert interrupted(process) == 0


# Top.


def test_top_counts_what_happens_while_it_looks(guard: Path, host: Host, environment: Mapping[str, str]) -> None:
    with watching(environment, "top", guard, "--json", "--interval", "100ms") as process:
        assert json.loads(line_of(process))["name"] == "guard"
        call(host, "fine")
        call(host, "bad")
        counted = {"allow": 0, "deny": 0}
        while sum(counted.values()) < 2:
            figures = json.loads(line_of(process))
            for one in figures["pipelines"]:
                for verdict in counted:
                    counted[verdict] += round(one[f"{verdict}_per_second"] * figures["seconds"])
        assert counted == {"allow": 1, "deny": 1}
        (stage,) = figures["stages"]
        assert (stage["pipeline"], stage["stage"], stage["plugin"]) == ("call", "check", "words")
        assert stage["p99_ms"] > 0
        assert interrupted(process) == 0


def test_top_shows_itself_once(penstock: Run, guard: Path, host: Host) -> None:
    done = penstock("top", guard, "--once", "--interval", "100ms")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("guard  0 calls/s, 0 under way, 0 open runs, host ")
    assert "words#1" in done.stdout
    assert "\x1b" not in done.stdout


def test_on_a_terminal_top_takes_the_screen_and_gives_it_back(
    guard: Path, host: Host, environment: Mapping[str, str]
) -> None:
    near, far = pty.openpty()
    command = [str(PENSTOCK), "top", str(guard), "--interval", "100ms"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=far, stderr=far, env=dict(environment)) as process:
        os.close(far)
        said, left, until = bytearray(), False, time.monotonic() + WAIT_SECONDS
        while time.monotonic() < until and select.select([near], [], [], WAIT_SECONDS)[0]:
            try:
                said += os.read(near, 65536)
            except OSError:  # EIO: the last writer closed the terminal
                break
            if b"words#1" in said and not left:
                left = True
                process.send_signal(signal.SIGINT)
        os.close(near)
        try:
            process.wait(WAIT_SECONDS)
        finally:
            process.kill()
    assert process.returncode == 0
    assert said.index(b"\x1b[?1049h") < said.index(b"\x1b[?1049l")


# Logs.


def log_of(penstock: Run, guard: Path, *options: str) -> list[Record]:
    done = penstock("logs", guard, "--json", *options)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_a_plugin_logged_is_found_with_its_run_and_request(penstock: Run, guard: Path, host: Host) -> None:
    """The terminal of the host showed none of it, and nobody followed."""
    run = call(host, "loud", "req-7")["run_id"]
    (line,) = log_of(penstock, guard, "--plugin", "words")
    told = {name: line[name] for name in ("level", "plugin", "worker", "run_id", "stage", "request_id", "logger")}
    assert told == {
        "level": "warning",
        "plugin": "words",
        "worker": "words#1",
        "run_id": run,
        "stage": "check",
        "request_id": "req-7",
        "logger": "words",
    }
    for options in (("--stage", "check"), ("--run", str(run)[-6:].lower()), ("--level", "warning")):
        assert line in log_of(penstock, guard, *options)
    for wrong in (("--stage", "again", "--run", "0"), ("--run", "0"), ("--plugin", "words", "--level", "error")):
        assert log_of(penstock, guard, *wrong) == []
    text = penstock("logs", guard, "--plugin", "words").stdout
    assert f" warning words#1: heard \\x1b[31mloud stage=check run={run} request=req-7\n" in text


def test_the_hosts_own_lines_are_there_too(penstock: Run, guard: Path, host: Host) -> None:
    call(host, "fine")
    messages = [line["message"] for line in log_of(penstock, guard, "--plugin", "host")]
    assert messages[0] == "worker.ready"
    assert log_of(penstock, guard, "-n", "0") == []


def test_lines_are_followed_as_they_come(
    penstock: Run, guard: Path, host: Host, environment: Mapping[str, str]
) -> None:
    call(host, "loud", "first")
    with watching(environment, "logs", guard, "-f", "--plugin", "words", "--json") as process:
        assert json.loads(line_of(process))["request_id"] == "first"
        call(host, "loud", "second")
        assert json.loads(line_of(process))["request_id"] == "second"
        assert interrupted(process) == 130


def test_who_follows_hears_when_the_host_ends(guard: Path, environment: Mapping[str, str]) -> None:
    with serving(guard, environment) as host:
        call(host, "loud")
        with watching(environment, "logs", guard, "-f", "--plugin", "words") as process:
            assert "heard" in line_of(process)
            host.end()
            _, errors = process.communicate(timeout=WAIT_SECONDS)
    assert (process.returncode, "[penstock.host_gone]" in errors) == (1, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("logs", "--plugin", "wrods"),
            "the file has no plugin 'wrods'; did you mean 'words'? [penstock.unknown_plugin]",
        ),
        (("logs", "--stage", "chek"), "the file has no stage 'chek'; did you mean 'check'? [penstock.unknown_stage]"),
        (("tap", "chek"), "the file has no stage 'chek'; did you mean 'check'? [penstock.unknown_stage]"),
        (("tap", "again", "--pipeline", "call"), "the file has no stage 'again'"),
        (("tap", "check", "--pipeline", "cal"), "did you mean 'call'? [penstock.unknown_pipeline]"),
        (("why", "NEVERWAS"), "no run has the id 'NEVERWAS', or one that ends so [penstock.unknown_run]"),
    ],
)
def test_mistyped_names_are_told_with_what_was_meant(
    penstock: Run, guard: Path, host: Host, words: tuple[str, ...], said: str
) -> None:
    call(host, "fine")
    before = 2 if words[0] in ("tap", "why") else 1
    done = penstock(*words[:before], guard, *words[before:])
    assert (done.returncode, said in done.stderr) == (1, True)


# Tap.


def tapped(host: Host, environment: Mapping[str, str], *words: object) -> str:
    """What a tap showed, while calls were made until it ended."""
    with watching(environment, "tap", *words, "--limit", "1") as process:
        while process.poll() is None:
            call(host, "something bad", "req-1")
        out, errors = process.communicate(timeout=WAIT_SECONDS)
        assert (process.returncode, errors) == (0, "")
    return out


def test_a_tap_shows_no_values(penstock: Run, guard: Path, host: Host, environment: Mapping[str, str]) -> None:
    seen = json.loads(tapped(host, environment, "check", guard, "--json"))
    assert "something bad" not in json.dumps(seen)
    assert seen["given"]["payload"] == {"name": "text(1)", "args": {"q": "text(13)"}}
    assert seen["answer"]["violation"]["details"] == {"q": "text(13)"}
    assert (seen["state"], seen["code"], seen["request_id"]) == ("denied", "words.found", "req-1")
    (line,) = [line for line in log_of(penstock, guard, "--plugin", "host") if line["message"] == "stage.tapped"]
    assert line["level"] == "info"
    text = tapped(host, environment, "check", guard)
    assert '  payload {"name": "text(1)", "args": {"q": "text(13)"}}\n' in text


def test_who_looks_at_values_is_told_of(penstock: Run, guard: Path, host: Host, environment: Mapping[str, str]) -> None:
    seen = json.loads(tapped(host, environment, "check", guard, "--json", "--show-values", "--pipeline", "call"))
    assert seen["given"]["payload"]["args"] == {"q": "something bad"}
    (line,) = [line for line in log_of(penstock, guard, "--level", "warning") if line["message"] == "stage.tapped"]
    assert line["fields"] == {"tapped": "check", "by": f"uid:{os.geteuid()}", "pipeline": "call", "values": True}


# Why.


def test_a_denial_is_explained_and_compared_with_when_the_stage_last_allowed(
    penstock: Run, guard: Path, host: Host
) -> None:
    allowed, denied = call(host, "fine", "req-1"), call(host, "bad", "req-2")
    for id in ("req-2", "2", denied["run_id"], str(denied["run_id"])[-5:].lower()):
        told = shown(penstock("why", id, guard, "--json"))
        if id != "2":
            assert told["run_id"] == denied["run_id"]
    told = shown(penstock("why", "req-2", guard, "--json"))
    expected = {"stage": "check", "why": "violation", "code": "words.found", "mode": "enforce", "worker": "words#1"}
    assert {name: told[name] for name in expected} == expected
    lines = (guard / "pipeline.yaml").read_text().splitlines()
    number = lines.index("      check: { uses: words/check, timeout: 10s }") + 1
    assert told["at"] == f"{guard}/pipeline.yaml:{number}:7"
    before = told["last_allowed"]
    assert isinstance(before, dict)
    assert (before["run_id"], told["changed"]) == (allowed["run_id"], [])
    text = penstock("why", "req-2", guard).stdout
    assert "stage check decided: its plugin denied [violation]\n  words.found: a bad word\n  at " in text
    assert f"check last had nothing against run {allowed['run_id']}, just now; nothing of it differs" in text


def test_of_several_runs_of_a_request_the_one_that_denied_is_explained(penstock: Run, guard: Path, host: Host) -> None:
    first = call(host, "fine", "req-1", name="twice")
    host.process.stdout.readline()  # type: ignore[union-attr]  # the second pipeline's record
    denied = call(host, "bad", "req-1")
    last = call(host, "fine", "req-1")
    told = shown(penstock("why", "req-1", guard, "--json"))
    assert told["run_id"] == denied["run_id"]
    others = told["others"]
    assert isinstance(others, list)
    assert {first["run_id"], last["run_id"]} < {one["run_id"] for one in others}
    assert len(others) == 3
    assert (
        f"other runs of the request:\n  {last['run_id']}  call on tool_pre_invoke  allow\n"
        in penstock("why", "req-1", guard).stdout
    )


def test_a_call_that_no_pipeline_took_is_explained(penstock: Run, guard: Path, host: Host) -> None:
    host.call("server_pre_register", payload={"name": "x", "url": "http://x"}, context={"request_id": "req-3"})
    told = shown(penstock("why", "req-3", guard, "--json"))
    assert (told["run_id"], told["verdict"], told["why"]) == (None, "deny", "unmatched")
    text = penstock("why", "req-3", guard).stdout
    assert text.startswith("deny: request req-3 on server_pre_register, just now\nno pipeline applied [unmatched]\n")


def test_an_open_breaker_is_named_as_the_reason(penstock: Run, environment: Mapping[str, str], tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "shop")
    with serving(shop, environment) as host:
        host.call("look", context={"request_id": "ok"})
        assert penstock("breakers", shop, "--open", "till/weigh", "--reason", "the scales are away").returncode == 0
        host.call("look", context={"request_id": "refused"})
        told = shown(penstock("why", "refused", shop, "--json"))
        breaker = told["breaker"]
        assert isinstance(breaker, dict)
        assert (told["why"], told["stage"], breaker["state"]) == ("breaker", "weigh", "open")
        text = penstock("why", "refused", shop).stdout
        assert "stage weigh decided: its breaker was open [breaker]" in text
        assert "nobody was asked" in text
        assert "breaker till/weigh is open, forced: the scales are away" in penstock("status", shop).stdout


def test_after_the_host_what_it_remembered_is_still_explained(
    penstock: Run, guard: Path, environment: Mapping[str, str]
) -> None:
    with serving(guard, environment) as host:
        allowed = call(host, "fine", "req-1")
        call(host, "bad", "req-2")
    told = shown(penstock("why", "req-2", guard, "--json"))
    before = told["last_allowed"]
    assert isinstance(before, dict)
    assert (told["stage"], told["why"], before["run_id"]) == ("check", "violation", allowed["run_id"])


def test_a_changed_plugin_is_told_as_what_differs(penstock: Run, guard: Path, environment: Mapping[str, str]) -> None:
    """The same question, asked of the next host."""
    with serving(guard, environment) as host:
        call(host, "word", "req-1")
    code = guard / "words" / "plugin.py"
    code.write_text(code.read_text().replace('call.config.get("word", "bad")', 'call.config.get("word", "word")'))
    with serving(guard, environment) as host:
        call(host, "word", "req-2")
        told = shown(penstock("why", "req-2", guard, "--json"))
    changed = told["changed"]
    assert isinstance(changed, list)
    assert [line.partition(":")[0] for line in changed] == ["the generation"]


# Overrides and changes.


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("check", "--mode", "disabled", "--reason", "noisy"), "an override needs --mode, --for and --reason"),
        (("check", "--mode", "disabled", "--for", "30m"), "an override needs --mode, --for and --reason"),
        (("check", "--mode", "disabled", "--for", "30m", "--reason", " "), "an override needs --mode, --for"),
        (("check", "--for", "30m", "--reason", "noisy"), "an override needs --mode, --for and --reason"),
        (("check", "--mode", "disabled", "--for", "30min", "--reason", "noisy"), "did you mean '30m'?"),
        (("check", "--mode", "disabled", "--for", "8d", "--reason", "noisy"), "for longer belongs into the file"),
        (("check", "--mode", "enforce", "--for", "30m", "--reason", "noisy"), "'enforce' is not one of"),
        ((), "name the STAGE to override, or say --list or --clear STAGE"),
        (("--list", "--clear", "check"), "three commands"),
        (("--list", ".", "more"), "unexpected argument 'more'"),
        (("--list", "nowhere"), "'nowhere' does not exist"),
    ],
)
def test_an_override_that_does_not_say_all_is_wrong_usage(penstock: Run, options: tuple[str, ...], said: str) -> None:
    done = penstock("override", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("top",),
        ("logs",),
        ("tap", "check"),
        ("override", "--list"),
        ("override", "--clear", "check"),
        ("plan",),
        ("apply",),
        ("rollback",),
        ("history",),
        ("diff", "1"),
        ("freeze",),
        ("thaw",),
        ("canary", "set", "5"),
        ("canary", "promote"),
        ("canary", "abort"),
    ],
)
def test_without_a_host_each_says_so(penstock: Run, guard: Path, words: tuple[str, ...]) -> None:
    done = penstock(*words, guard)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"error: no host serves {guard} [penstock.no_host]" in done.stderr


def test_changes_are_planned_listed_and_refused(penstock: Run, guard: Path, host: Host) -> None:
    call(host, "fine")
    assert shown(penstock("plan", guard, "--json"))["revision"] == 1
    (first,) = json.loads(penstock("history", guard, "--json").stdout)
    assert (first["number"], first["outcome"], first["by"]) == (1, "applied", "start")
    assert "1         just now  start  applied" in penstock("history", guard).stdout
    refused = penstock("rollback", guard, "--to", "7")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "there is no revision 7" in refused.stderr
    frozen = shown(penstock("freeze", guard, "--reason", "a release", "--json"))
    assert (frozen["frozen"], frozen["reason"]) == (True, "a release")
    assert "frozen: the watcher applies nothing (by uid:" in penstock("status", guard).stdout
    assert penstock("thaw", guard).stdout == "the watcher applies what is saved\n"
    words = f"penstock rollback {guard} --to "
    completed = penstock(_PENSTOCK_COMPLETE="fish_complete", COMP_WORDS=words, COMP_CWORD="").stdout
    assert completed.startswith("plain,1\tapplied by start")


def test_a_host_is_found_though_its_file_is_gone(penstock: Run, guard: Path, host: Host) -> None:
    call(host, "fine")
    (guard / "pipeline.yaml").unlink()
    assert "revision 1 since" in penstock("status", guard).stdout
    assert penstock("logs", guard).returncode == 0
    for command in ("plan", "apply"):
        refused = penstock(command, guard, "--json")
        assert (refused.returncode, "unreadable" in refused.stderr) == (78, True)
        error = json.loads(refused.stdout)["error"]
        assert (error["code"], error["hint"]) == ("penstock.lint", "`penstock lint` names every mistake")


def test_what_was_changed_is_told_without_a_host(penstock: Run, guard: Path, tmp_path: Path) -> None:
    state = tmp_path / "kept"
    assert penstock("history", guard, "--state", state).returncode == 1
    history = History(state / HISTORY_FOLDER)
    history.load()
    history.add(Entry(at=1.0, by="watcher", outcome=Outcome.REFUSED, code="penstock.lint", where="f:1:1", reason="no"))
    (entry,) = json.loads(penstock("history", guard, "--state", state, "--json").stdout)
    assert (entry["by"], entry["outcome"], entry["where"]) == ("watcher", "refused", "f:1:1")
    assert "there is no revision 3" in penstock("diff", "3", guard, "--state", state).stderr


def test_names_of_stages_and_plugins_are_completed(penstock: Run, guard: Path) -> None:
    def completed(typed: str) -> list[str]:
        done = penstock(_PENSTOCK_COMPLETE="fish_complete", COMP_WORDS=f"penstock {typed}", COMP_CWORD="")
        return [line.removeprefix("plain,") for line in done.stdout.split()]

    assert completed(f"logs {guard} --plugin ") == ["host", "words"]
    assert completed(f"logs {guard} --stage ") == ["check", "again"]
    assert completed(f"override {guard} --clear ") == ["check", "again", "call/check", "second/again"]


def test_an_override_is_set_shown_and_cleared(penstock: Run, guard: Path, host: Host) -> None:
    refused = penstock("override", "chek", guard, "--mode", "disabled", "--for", "30m", "--reason", "noisy")
    assert (refused.returncode, "check" in refused.stderr) == (1, True)
    denied = call(host, "bad", "req-1")
    done = penstock("override", "call/check", guard, "--mode", "permissive", "--for", "30m", "--reason", "noisy")
    assert done.returncode == 0, done.stderr
    head, _, tail = done.stdout.partition(" for ")
    assert head == "call/check is permissive"
    assert " more: noisy (by uid:" in tail
    assert call(host, "bad", "req-2")["verdict"] == "allow"
    text = penstock("why", "req-2", guard).stdout
    assert "also check succeeded: its violation was recorded and not enforced (words.found: a bad word)" in text
    assert "overridden: " in text
    assert "noisy" in text
    assert "override: call/check is permissive for " in penstock("status", guard).stdout
    (listed,) = json.loads(penstock("override", "--list", guard, "--json").stdout)
    assert (listed["stage"], listed["mode"], listed["reason"]) == ("call/check", "permissive", "noisy")
    cleared = penstock("override", "--clear", "call/check", guard)
    assert (cleared.returncode, cleared.stderr) == (0, "no override is in force\n")
    again = call(host, "bad", "req-3")
    assert again["verdict"] == denied["verdict"] == "deny"
    told = shown(penstock("why", "req-3", guard, "--json"))
    changed = told["changed"]
    assert isinstance(changed, list)
    assert changed[0].startswith("the revision: ")
