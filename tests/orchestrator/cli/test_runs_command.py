"""`penstock runs` and `penstock plugin restart` as an operator uses them, with a host and without one."""

from __future__ import annotations

import json
import runpy
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from shop import PENSTOCK, WAIT_SECONDS, Host, embedded, serving, write_shop

PAGE = runpy.run_path(str(Path(__file__).parents[3] / "docs" / "cli_page.py"))

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]
Record = dict[str, object]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pipeline file. Its runs are in the state folder of each test."""
    return write_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def host(shop: Path, environment: Mapping[str, str]) -> Iterator[Host]:
    """A host that serves the file."""
    with serving(shop, environment) as process:
        process.call("look")
        yield process


@pytest.fixture
def stuck(shop: Path) -> Iterator[Path]:
    """A drawer that is stuck, so that no undo succeeds until the file is removed."""
    file = shop / "stuck"
    file.touch()
    yield file
    file.unlink(missing_ok=True)


def listed(penstock: Run, shop: Path, *options: str) -> list[Record]:
    done = penstock("runs", "list", shop, "--json", *options)
    assert (done.returncode, done.stderr) == (0, "")
    records: list[Record] = json.loads(done.stdout)
    return records


def shown(done: Done) -> Record:
    record: Record = json.loads(done.stdout)
    return record


def undo_of(record: Record, stage: str = "pay") -> Record:
    stages = record["stages"]
    assert isinstance(stages, dict)
    undo = stages[stage]["undo"]
    assert isinstance(undo, dict)
    return undo


def test_the_page_names_every_member(penstock: Run, shop: Path, host: Host, stuck: Path) -> None:
    """docs/cli.md, in its order; a summary has those that stay."""
    host.call("order", "deny")
    done = penstock("runs", "show", host.call("order", "deny")["run_id"], shop, "--json")
    run = shown(done)
    runs = [name for name in PAGE["RUN_MEMBERS"] if name != "hook_verdict"]
    assert [*run] == [*runs, "events"]
    assert [*undo_of(run)] == [*PAGE["UNDO_MEMBERS"]]
    summary = listed(penstock, shop)[0]
    assert [*summary] == [name for name in runs if name != "payload"]
    assert [*undo_of(summary)] == [name for name in PAGE["UNDO_MEMBERS"] if name != "input"]
    assert set(PAGE["KEPT_MEMBERS"]) == {"events", "unread", "undos"}


# With a host.


def test_a_hosts_runs_are_listed_newest_first_and_shown_whole(penstock: Run, shop: Path, host: Host) -> None:
    denied, looked = host.call("order", "deny"), host.call("look")
    records = listed(penstock, shop)
    assert [record["run_id"] for record in records[:2]] == [looked["run_id"], denied["run_id"]]
    assert [record["status"] for record in records[:2]] == ["completed", "undone"]
    assert "payload" not in records[0]
    run = shown(penstock("runs", "show", denied["run_id"], shop, "--json"))
    assert run["payload"] == denied["payload"]
    assert undo_of(run)["input"] == undo_of(denied)["input"]
    table = penstock("runs", "list", shop).stdout
    assert f"{denied['run_id']}  order     deny     undone" in table
    assert "till.no: not for sale" in table
    text = penstock("runs", "show", str(denied["run_id"])[-4:].lower(), shop).stdout
    assert text.splitlines()[0].startswith(f"{denied['run_id']}  order on order  deny, undone, began just now")
    assert "journal: 5 events: begin settled settled answered undone" in text


def test_a_list_can_be_narrowed(penstock: Run, shop: Path, host: Host) -> None:
    for wish in ("", "deny"):
        for hook in ("order", "look"):
            host.call(hook, wish)
    assert {record["pipeline"] for record in listed(penstock, shop, "--pipeline", "order")} == {"order"}
    assert {record["verdict"] for record in listed(penstock, shop, "--verdict", "deny")} == {"deny"}
    assert [record["status"] for record in listed(penstock, shop, "--status", "undone")] == ["undone"]
    assert len(listed(penstock, shop, "--limit", "2")) == 2
    nothing = penstock("runs", "list", shop, "--status", "parked")
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (0, "", "no such runs are known\n")


def test_what_was_allowed_can_be_undone_by_a_host(penstock: Run, shop: Path, host: Host) -> None:
    run = host.call("order")["run_id"]
    done = penstock("runs", "compensate", run, shop, "--reason", "the write failed", "--json")
    record = shown(done)
    assert (done.returncode, record["status"], record["reason"]) == (0, "undone", "the write failed")
    assert undo_of(record)["state"] == "done"
    again = penstock("runs", "compensate", run, shop)
    assert again.returncode == 1
    assert "cannot be undone: it was undone already: the write failed [penstock.run_stands]" in again.stderr


def test_a_parked_run_says_all_that_is_needed_and_is_resumed_when_the_trouble_is_gone(
    penstock: Run, shop: Path, host: Host, stuck: Path
) -> None:
    run = str(host.call("order", "deny")["run_id"])
    (record,) = listed(penstock, shop, "--status", "parked")
    assert record["run_id"] == run
    text = penstock("runs", "show", run, shop).stdout
    for line in (
        "to undo pay by hand: what till/give_back would have done",
        f"  undoes  {run}/pay",
        f"  key     {run}/pay/undo",
        '  input   {"receipt": "paid ' + run + '/pay"}',
        "penstock.plugin_error: RuntimeError: the drawer is stuck",
    ):
        assert line in text
    still = penstock("runs", "resume", run, shop)
    assert (still.returncode, "deny, parked" in still.stdout) == (1, True)
    stuck.unlink()
    done = penstock("runs", "resume", run, shop, "--json")
    assert (done.returncode, shown(done)["status"], undo_of(shown(done))["state"]) == (0, "undone", "done")


def test_an_allow_that_waits_is_confirmed_once(penstock: Run, shop: Path, environment: Mapping[str, str]) -> None:
    with embedded(shop, environment) as host:
        run = host.call("offer")["run_id"]
        (record,) = listed(penstock, shop, "--status", "confirming")
        assert record["run_id"] == run
        done = penstock("runs", "confirm", run, shop)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"run {run} is confirmed\n", "")
        again = penstock("runs", "confirm", run, shop, "--json")
        assert (again.returncode, json.loads(again.stdout)["error"]["code"]) == (1, "penstock.not_confirming")
        assert "does not wait for a confirmation (any more) [penstock.not_confirming]" in again.stderr
        assert shown(penstock("runs", "show", run, shop, "--json"))["status"] == "completed"


def test_a_run_that_waits_cannot_be_parked_but_undone(
    penstock: Run, shop: Path, environment: Mapping[str, str]
) -> None:
    with embedded(shop, environment) as host:
        run = host.call("offer")["run_id"]
        refused = penstock("runs", "park", run, shop)
        assert "it is confirming, and nothing of it is being undone" in refused.stderr
        assert refused.returncode == 1
        done = penstock("runs", "compensate", run, shop, "--json")
        assert (done.returncode, shown(done)["status"]) == (0, "undone")


def test_a_plugin_that_went_over_its_restart_intensity_comes_back_by_command(
    penstock: Run, shop: Path, host: Host
) -> None:
    host.call("look", "die")
    refused = host.call("look")
    assert refused["verdict"] == "deny"
    done = penstock("plugin", "restart", "till", shop)
    assert (done.returncode, done.stdout) == (0, "till: running, 1 of 1 replicas ready\n")
    assert host.call("look")["verdict"] == "allow"
    status = shown(penstock("plugin", "restart", "till", shop, "--json"))
    assert (status["plugin"], status["state"], status["ready"]) == ("till", "running", 1)


def test_a_mistyped_plugin_is_told_which_was_meant(penstock: Run, shop: Path, host: Host) -> None:
    done = penstock("plugin", "restart", "tlil", shop)
    assert done.returncode == 1
    assert done.stderr == "error: the file has no plugin 'tlil'; did you mean 'till'? [penstock.unknown_plugin]\n"


def test_a_second_host_of_one_file_serves_calls_and_leaves_commands_to_the_first(
    penstock: Run, shop: Path, environment: Mapping[str, str], tmp_path: Path
) -> None:
    """Where nothing is durable: two cannot have one journal."""
    looking = write_shop(tmp_path / "looking")
    file = looking / "pipeline.yaml"
    file.write_text(
        file.read_text().replace("durable: true", "durable: false").replace("    confirm_within: 10m\n", "")
    )
    with serving(looking, environment) as first:
        run = first.call("look")["run_id"]
        with serving(looking, environment) as second:
            assert second.call("look")["verdict"] == "allow"
            assert [record["run_id"] for record in listed(penstock, looking)] == [run]
        assert [record["run_id"] for record in listed(penstock, looking)] == [run]


# Without a host.


def test_after_the_host_runs_are_still_known_and_can_be_undone(
    penstock: Run, shop: Path, environment: Mapping[str, str]
) -> None:
    with serving(shop, environment) as host:
        looked, ordered = host.call("look"), host.call("order")
    assert [record["run_id"] for record in listed(penstock, shop)] == [ordered["run_id"], looked["run_id"]]
    done = penstock("runs", "compensate", ordered["run_id"], shop, "--json")
    assert (done.returncode, shown(done)["status"]) == (0, "undone")
    assert done.stderr == f"no host serves {shop}; starting its plugins for this\n"


def test_a_killed_hosts_runs_are_in_its_journal(penstock: Run, shop: Path, environment: Mapping[str, str]) -> None:
    with serving(shop, environment) as host:
        looked, ordered = host.call("look"), host.call("order", "deny")
        host.kill()
    (record,) = listed(penstock, shop)
    assert (record["run_id"], record["status"], record["reason"]) == (ordered["run_id"], "undone", "till.no")
    assert penstock("runs", "show", looked["run_id"], shop).returncode == 1


def test_a_run_left_by_a_dead_host_can_be_parked_and_resumed(
    penstock: Run, shop: Path, environment: Mapping[str, str]
) -> None:
    """Resumed, it waits for its caller again, and the next host knows."""
    with embedded(shop, environment) as host:
        run = host.call("offer")["run_id"]
        host.call("order")  # once this is in the journal, it is there too that the offer was delivered
        host.kill()
    parked = penstock("runs", "park", run, shop, "--reason", "we look into it", "--json")
    assert (parked.returncode, shown(parked)["status"], shown(parked)["reason"]) == (0, "parked", "we look into it")
    again = penstock("runs", "park", run, shop)
    assert (again.returncode, "it is parked already" in again.stderr) == (1, True)
    resumed = penstock("runs", "resume", run, shop, "--json")
    assert (resumed.returncode, shown(resumed)["status"]) == (0, "confirming")
    with embedded(shop, environment) as host:
        host.call("order")
        assert penstock("runs", "confirm", run, shop).returncode == 0
    assert [record["run_id"] for record in listed(penstock, shop, "--status", "confirming")] == []


def test_nothing_is_started_for_a_run_that_is_not_known(
    penstock: Run, shop: Path, environment: Mapping[str, str]
) -> None:
    with serving(shop, environment) as host:
        looked = host.call("look")["run_id"]
        host.call("order")
    for command in ("compensate", "resume"):
        unknown = penstock("runs", command, "NEVERWAS", shop)
        assert (unknown.returncode, "starting" in unknown.stderr) == (1, False)
        assert "no run has the id 'NEVERWAS', or one that ends so [penstock.unknown_run]" in unknown.stderr
        fleeting = penstock("runs", command, looked, shop)
        assert (fleeting.returncode, "starting" in fleeting.stderr) == (1, False)
        assert "is not durable" in fleeting.stderr


def test_an_id_that_several_end_in_is_told_with_them(penstock: Run, shop: Path, environment: Mapping[str, str]) -> None:
    with serving(shop, environment) as host:
        runs = [str(host.call("look")["run_id"]) for _ in range(2)]
    done = penstock("runs", "show", "", shop)
    assert done.returncode == 1
    assert f"2 runs have an id that ends in '': {runs[1]}, {runs[0]} [penstock.ambiguous_run]" in done.stderr


def test_what_needs_a_host_says_that_there_is_none(penstock: Run, shop: Path) -> None:
    for words in (("runs", "confirm", "X", shop), ("breakers", shop), ("plugin", "restart", "till", shop)):
        done = penstock(*words)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"error: no host serves {shop} [penstock.no_host]\nhint: `penstock serve` starts one" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("runs", "list"),
        ("runs", "show", "X"),
        ("runs", "resume", "X"),
        ("runs", "prune", "--keep", "1"),
        ("breakers",),
        ("plugin", "restart", "till"),
    ],
)
def test_without_a_pipeline_file_here_nothing_is_begun(penstock: Run, words: tuple[str, ...], tmp_path: Path) -> None:
    done = penstock(*words)
    assert done.returncode == 2
    assert "there is no pipeline.yaml here; name a pipeline file or its folder as PATH" in done.stderr
    assert not (tmp_path / "state").exists()


def test_the_state_folder_is_enough_to_look_and_to_prune(
    penstock: Run, shop: Path, environment: Mapping[str, str], tmp_path: Path
) -> None:
    """Whoever has a copy of it needs no pipeline file."""
    state = tmp_path / "elsewhere"
    with serving(shop, environment, "--state", str(state)) as host:
        runs = [host.call("order")["run_id"] for _ in range(3)]
    records = json.loads(penstock("runs", "list", "--state", state, "--json").stdout)
    assert [record["run_id"] for record in records] == runs[::-1]
    done = penstock("runs", "prune", "--state", state, "--keep", "1")
    assert (done.returncode, done.stdout) == (0, "2 runs removed\n")
    assert shown(penstock("runs", "prune", "--state", state, "--older-than", "1d", "--json")) == {"pruned": 0}
    rekeyed = penstock("runs", "rekey", "--state", state)
    assert (rekeyed.returncode, rekeyed.stdout.endswith("records encrypted with a new key\n")) == (0, True)
    assert penstock("runs", "show", runs[2], "--state", state).returncode == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "say what to keep, with --older-than AGE, --keep N or both"),
        (("--older-than", "soon"), "'soon' is no age; write 90m, 12h or 30d"),
        (("--older-than", "-1d"), "'-1d' is no age"),
        (("--keep", "-1"), "-1 is not in the range x>=0"),
    ],
)
def test_what_to_prune_must_be_said(penstock: Run, shop: Path, options: tuple[str, ...], said: str) -> None:
    done = penstock("runs", "prune", shop, *options)
    assert (done.returncode, said in done.stderr) == (2, True)


def test_without_a_journal_there_is_nothing_to_prune(penstock: Run, guard: Path) -> None:
    done = penstock("runs", "prune", guard, "--keep", "1")
    assert done.returncode == 1
    assert "there is no journal: the file has no durable pipeline [penstock.no_journal]" in done.stderr


def test_ids_of_runs_are_completed(penstock: Run, shop: Path, environment: Mapping[str, str], tmp_path: Path) -> None:
    def completed() -> str:
        typed = f"penstock runs show --state {tmp_path / 'kept'} 0"
        return penstock(_PENSTOCK_COMPLETE="fish_complete", COMP_WORDS=typed, COMP_CWORD="0").stdout.strip()

    assert completed() == ""
    with serving(shop, environment, "--state", str(tmp_path / "kept")) as host:
        run = host.call("look")["run_id"]
        assert completed() == f"plain,{run}\tlook allow completed"
    assert completed() == f"plain,{run}\tlook allow completed"


def test_a_corrupt_journal_is_told_and_not_touched(
    penstock: Run, shop: Path, environment: Mapping[str, str], tmp_path: Path
) -> None:
    with serving(shop, environment, "--state", str(tmp_path / "kept")) as host:
        host.call("order")
    database = tmp_path / "kept" / "journal.db"
    database.write_bytes(b"nonsense" * 1000)
    done = penstock("runs", "list", "--state", tmp_path / "kept")
    assert (done.returncode, "[penstock.journal_corrupt]" in done.stderr) == (1, True)
    assert database.read_bytes() == b"nonsense" * 1000


def test_commands_wait_for_each_other(shop: Path, environment: Mapping[str, str]) -> None:
    """Without a host each opens the journal for itself, one after the other."""
    with serving(shop, environment) as host:
        host.call("order")
    command = [str(PENSTOCK), "runs", "list", str(shop), "--json"]
    asking = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(environment))
        for _ in range(3)
    ]
    for one in asking:
        out, errors = one.communicate(timeout=WAIT_SECONDS)
        assert (one.returncode, errors) == (0, "")
        assert len(json.loads(out)) == 1
