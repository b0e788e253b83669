"""How a host stands, on the terminal: what is there is shown, what is not costs no line."""

from __future__ import annotations

import io
from collections.abc import Mapping

from rich.console import Console

from orchestrator.cli.status_tables import duration, mebibytes, status_view

NOW = 10_000.0

PLAIN: Mapping[str, object] = {
    "name": "shop",
    "file": "/etc/shop/pipeline.yaml",
    "host": {"pid": 7, "since": NOW - 3700, "rss_bytes": 64 * 2**20},
    "plugins": [
        {
            "plugin": "till", "generation": "till@0123abcd", "version": "1.2.0", "state": "running", "ready": 2,
            "wanted": 2, "owed": 3, "waiting": 0, "restarts": 1, "age_seconds": 90.0, "rss_bytes": 2**20, "reason": "",
        }
    ],
    "calls": 3,
    "open_runs": ["01X"],
}  # fmt: skip


def shown(status: Mapping[str, object]) -> str:
    screen = io.StringIO()
    Console(file=screen, width=200, color_system=None, highlight=False).print(status_view(status, NOW))
    return screen.getvalue()


def test_a_host_and_its_plugins_are_shown() -> None:
    text = shown(PLAIN)
    assert "shop  /etc/shop/pipeline.yaml\npid 7, up 1h 1m, 64 MiB, 3 calls under way, 1 open runs\n" in text
    assert " ".join(text.splitlines()[-1].split()) == "till 0123abcd 1.2.0 running 2/2 3 0 1 1m 30s 1 MiB"


def test_what_is_not_as_it_should_be_is_shown() -> None:
    text = shown(
        {
            **PLAIN,
            "revision": {"number": 4, "since": NOW - 120, "by": "uid:1000"},
            "frozen": {"frozen": True, "by": "uid:1000", "reason": "a release"},
            "watcher": False,
            "refused": {"when": NOW - 60, "by": "watcher", "reason": "no stage 'x'", "where": "pipeline.yaml:3:7"},
            "changing": {"by": "watcher", "since": NOW - 4},
            "last_change": {"at": NOW - 120, "by": "watcher", "number": 4, "outcome": "applied", "reason": ""},
            "breakers": [
                {
                    "plugin": "till",
                    "stage": "weigh",
                    "state": "open",
                    "calls": 20,
                    "failures": 11,
                    "retry_seconds": 12.3,
                }
            ],
            "overrides": [
                {"stage": "weigh", "mode": "permissive", "until": NOW + 1800, "reason": "it is noisy", "by": "uid:0"}
            ],
            "canary": {
                "revision": 5,
                "percent": 5.0,
                "hooks": ["look"],
                "canary": {"calls": 100, "failed": 2, "p95_seconds": 0.1},
                "stable": {"calls": 900, "failed": 1, "p95_seconds": 0.1},
            },
            "draining": [
                {"revision": 3, "plugin": "till", "generation": "till@ffff0000", "runs": ["01A", "01B"]},
                {"revision": 2, "generations": {"till": "till@eeee0000"}, "runs": []},
            ],
        }
    )
    for line in (
        "revision 4 since 2 min ago by uid:1000",
        "frozen: the watcher applies nothing (by uid:1000): a release",
        "watcher: off",
        "change refused 1 min ago by watcher: pipeline.yaml:3:7: no stage 'x'",
        "last change: revision 4 applied 2 min ago by watcher",
        "a change by watcher is being made, for 4",
        "breaker till/weigh is open, 11 of 20 calls failed, tried again in 12s",
        "override: weigh is permissive for 30m 0s more: it is noisy (by uid:0)",
        "canary: revision 5 takes 5 % of the calls; 2 of its 100 calls failed; 1 of the stable one's 900 calls failed",
        "revision 3 (till@ffff0000) drains; held by 01A, 01B",
        "revision 2 (till@eeee0000) drains; held by no run any more",
    ):
        assert line in text


def test_a_host_that_is_not_frozen_says_nothing_of_it() -> None:
    assert "frozen" not in shown({**PLAIN, "frozen": {"frozen": False}, "refused": None, "canary": None})


def test_what_plugins_say_cannot_steer_the_terminal() -> None:
    assert "\x1b[31m" not in shown({**PLAIN, "refused": {"when": NOW, "by": "x", "reason": "\x1b[31mred", "where": ""}})


def test_durations_and_sizes_fit_into_a_column() -> None:
    spans = [0.2, 59, 61, 3600, 90_000, 700_000]
    assert [duration(one) for one in spans] == ["0s", "59s", "1m 1s", "1h 0m", "1d 1h", "8d 2h"]
    assert (mebibytes(None), mebibytes(2**20 * 12)) == ("", "12 MiB")
