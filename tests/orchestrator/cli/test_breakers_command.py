"""`penstock breakers` against a host in service."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from shop import Host, serving, write_shop

Run = Callable[..., "CompletedProcess[str]"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pipeline file."""
    return write_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def host(shop: Path, environment: Mapping[str, str]) -> Iterator[Host]:
    """A host that has answered one call."""
    with serving(shop, environment) as process:
        process.call("look")
        yield process


def views(penstock: Run, shop: Path, *options: str) -> list[dict[str, object]]:
    done = penstock("breakers", shop, "--json", *options)
    assert (done.returncode, done.stderr) == (0, "")
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


def test_breakers_show_how_they_stand(penstock: Run, shop: Path, host: Host) -> None:
    (view,) = views(penstock, shop)
    assert (view["plugin"], view["stage"], view["policy"], view["state"]) == ("till", "weigh", "steady", "closed")
    assert (view["calls"], view["failures"]) == (1, 0)
    assert "till/weigh  steady  closed" in penstock("breakers", shop).stdout


def test_one_forced_open_refuses_until_it_is_reset(penstock: Run, shop: Path, host: Host) -> None:
    done = penstock("breakers", shop, "--open", "till/weigh", "--reason", "the scales are away")
    assert (done.returncode, "open (forced: the scales are away)" in done.stdout) == (0, True)
    refused = host.call("look")
    violation, error = refused["violation"], refused["error"]
    assert isinstance(violation, dict) and isinstance(error, dict)
    assert (violation["code"], error["class"]) == ("penstock.breaker_open", "BreakerOpen")
    assert "the scales are away" in violation["reason"]
    (view,) = views(penstock, shop, "--reset", "till")
    assert (view["state"], view["forced"], view["calls"]) == ("closed", False, 0)
    assert host.call("look")["verdict"] == "allow"


@pytest.mark.parametrize("option", ["--open", "--reset"])
def test_a_mistyped_breaker_is_told_which_was_meant(penstock: Run, shop: Path, host: Host, option: str) -> None:
    done = penstock("breakers", shop, option, "till/wiegh")
    assert (done.returncode, done.stdout) == (1, "")
    said = "error: there is no breaker 'till/wiegh'; did you mean 'till/weigh'? [penstock.unknown_breaker]\n"
    assert done.stderr == said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--open", "a", "--reset", "b"), "--open and --reset are two commands"),
        (("--reason", "x"), "--reason says why one is forced open: it goes with --open"),
        (("--reset", "a", "--reason", "x"), "--reason says why one is forced open: it goes with --open"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(
    penstock: Run, shop: Path, options: tuple[str, ...], said: str
) -> None:
    done = penstock("breakers", shop, *options)
    assert (done.returncode, said in done.stderr) == (2, True)


def test_a_file_without_breakers_says_so(penstock: Run, guard: Path, environment: Mapping[str, str]) -> None:
    with serving(guard, environment) as host:
        assert host.process.stdin is not None and host.process.stdout is not None
        host.process.stdin.write(json.dumps({"hook": "tool_pre_invoke", "payload": {"name": "t", "args": {}}}) + "\n")
        host.process.stdin.flush()
        host.process.stdout.readline()
        done = penstock("breakers", guard)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "no stage of the file has a breaker\n")
        assert views(penstock, guard) == []
