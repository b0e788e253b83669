"""A change on a terminal: every difference is seen, nothing steers the terminal, no record breaks it."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from orchestrator.cli.plan_tables import ROWS_SHOWN, change_view
from orchestrator.reload.change import Change, difference
from orchestrator.reload.outline import Outline, PipelineOutline, PluginOutline, SplitOutline
from pipelines.declaration import Asks

GUARD = PipelineOutline("guard", "before", {"deadline": "1 s"}, {"mask": {"plugin": "pii", "mode": "enforce"}})
PII = PluginOutline("pii", "example-pii", "./pii", "aaaaaaaa1", "ffffffff1", version="1.1", locked={"alpha": "1.0"})
WORDS = PluginOutline("words", "example-words", "./words", "bbbbbbbb1")
BEFORE = Outline("one", {"pii": PII, "words": WORDS}, {"before": (GUARD,)}, {"before": "deny"})


def shown(record: Mapping[str, object], width: int = 120) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(change_view(record))
    return captured.get()


def lines(change: Change) -> list[str]:
    return [" ".join(line.split()) for line in shown(change.record()).splitlines() if line.strip()]


def test_a_change_is_told_whole() -> None:
    pii = PluginOutline(
        "pii", "example-pii", "./pii", "aaaaaaaa2", "ffffffff2", False, "1.0", locked={"alpha": "2.0"},
        asks=Asks(network=("a:1",)), replicas=2,
    )  # fmt: skip
    guard = PipelineOutline("guard", "before", {"deadline": "2 s"}, {"mask": {"plugin": "pii", "mode": "audit"}})
    after = Outline(
        "two", {"pii": pii, "words": WORDS}, {"before": (guard,)}, {"before": "allow"},
        splits={"before": SplitOutline(("pii",), 5.0, "5 %")}, problems=("no",),
    )  # fmt: skip
    told = lines(difference(BEFORE, after))
    assert told == [
        "plugin what becomes of it why version",
        told[1],
        "pii swap, beside the old one code, environment, replicas 1.1 → 1.0, a downgrade",
        "build environment ffffffff for pii",
        "start pii@aaaaaaaa",
        "stop pii@aaaaaaaa",
        "trial 5.0 % of before to the new pii, until promoted",
        "permissions",
        told[8],
        "pii asks for network +a:1",
        "locked",
        told[11],
        "pii alpha 1.0 → 2.0",
        "in the file what",
        told[14],
        "~ name of the file name one → two",
        "~ hook before unmatched deny → allow",
        "~ pipeline guard on before deadline 1 s → 2 s",
        "~ stage guard/mask on before mode enforce → audit",
        "plugin.code aaaaaaaa1 → aaaaaaaa2",
        "plugin.environment ffffffff1 → ffffffff2",
        "plugin.replicas 1 → 2",
        "~ split of before canary nothing → pii: 5 %",
        "kept as they are: words",
        "problem: no",
        "warning: pii is downgraded, from version 1.1 to 1.0",
    ]


def test_nothing_to_do_is_one_line() -> None:
    assert lines(difference(BEFORE, BEFORE)) == ["nothing differs from what serves"]


def test_a_long_list_says_how_many_more_there_are() -> None:
    many = {f"s{number}": {"plugin": "pii"} for number in range(ROWS_SHOWN + 3)}
    after = Outline("one", BEFORE.plugins, {"before": (PipelineOutline("guard", "before", GUARD.facets, many),)})
    told = lines(difference(Outline("one", BEFORE.plugins, {"before": (GUARD,)}), after))
    assert "and 4 more" in told
    assert sum("stage guard/" in line for line in told) == ROWS_SHOWN


def test_what_a_file_says_steers_no_terminal() -> None:
    evil = PipelineOutline("guard", "before", {"deadline": "1 s"}, {"mask": {"plugin": "pii", "when": "\x1b[2J" * 20}})
    told = shown(difference(BEFORE, Outline("one", BEFORE.plugins, {"before": (evil,)}, BEFORE.unmatched)).record())
    assert "\x1b" not in told and "\\x1b[2J" in told
    assert "…" in told


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=6,
)
KEYS = tuple(difference(None, BEFORE).record())


@given(st.dictionaries(st.sampled_from(KEYS), JSON), st.integers(20, 120))
def test_no_record_breaks_it(record: dict[str, object], width: int) -> None:
    assert isinstance(shown(record, width), str)
