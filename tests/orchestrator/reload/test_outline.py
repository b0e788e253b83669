"""A plan in outline: equal where nothing has to be done, different where something has, however it is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import pytest
from generated_files import Offer, files
from hypothesis import HealthCheck, given, settings
from plans import load_text

from isolation.manifest import Manifest
from isolation.store.preview import Preview
from orchestrator.loading import Loaded, load
from orchestrator.reload.change import Action, Change, Difference, Kind, difference
from orchestrator.reload.outline import Outline, outline_of
from pipelines.plan import PipelinePlan, Plan, PluginPlan, StagePlan, UndoPlan, Variant

CORPUS = Path(__file__).parents[2] / "corpus"
OFFER = Offer(str(CORPUS / "plugins" / "ledger"), "peek", "balance", "reserve", "release", "append", durable=True)
HOST = {"PATH": "/bin", "TOKEN": "t1"}

GUARD = """\
  guard:
    hook: tool_pre_invoke
    deadline: 1s
    stages:
      first: { uses: s/act, mode: permissive, timeout: 200ms, with: { limit: 1 } }
      second: { uses: s/ask, mode: permissive, needs: [first], when: "payload.name == 'a'" }
"""


def preview(name: str, digest: str = "d1") -> Preview:
    return Preview(name, "f1", digest, Path("/python"), True, True, {"alpha": "1.0"})


def outline(loaded: Loaded, host: Mapping[str, str] = HOST, secrets: Mapping[str, str] | None = None) -> Outline:
    previews = {name: preview(manifest.name) for name, manifest in loaded.manifests.items()}
    return outline_of(loaded.plan, loaded.manifests, previews, host, secrets)


def changed(folder: Path, before: str, after: str, *, more: tuple[str, str] = ("", "")) -> Change:
    """The change from one text of pipelines to another, `more` keys beside them."""
    old = outline(load_text(folder, before, more=more[0]))
    return difference(old, outline(load_text(folder, after, more=more[1])))


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], max_examples=60)
@given(files(OFFER))
def test_a_file_that_is_loaded_again_has_the_same_outline(tmp_path: Path, document: dict[str, object]) -> None:
    path, text = tmp_path / "pipeline.yaml", json.dumps(document)
    path.write_text(text)
    first = outline(load(path))
    path.write_text(f"# moved by a line\n{text}")
    second = outline(load(path))
    assert first.routes == second.routes
    assert difference(first, second).empty


def test_a_line_that_only_moved_is_no_change(tmp_path: Path) -> None:
    moved = GUARD.replace("    deadline", "    # a remark\n\n    deadline")
    assert changed(tmp_path, GUARD, moved).empty


@pytest.mark.parametrize(
    ("old", "new", "stage", "facet", "before", "after"),
    [
        ("timeout: 200ms", "timeout: 300ms", "first", "timeout", "0.2 s", "0.3 s"),
        ("timeout: 200ms", "mode: audit, timeout: 200ms", "first", "mode", "permissive", "audit"),
        ("name == 'a'", "name == 'b'", "second", "when", "payload.name == 'a'", "payload.name == 'b'"),
        ("[first]", "[{stage: first, is: [succeeded]}]", "second", "needs", "first", 'first is ["succeeded"]'),
        ("uses: s/act", "uses: s/narrow", "first", "stage", "act", "narrow"),
        ("uses: s/ask,", "uses: s/ask, otherwise: { n: 1 },", "second", "otherwise", None, '{"n": 1}'),
        ("uses: s/ask,", "uses: s/ask, in: { n: 1 },", "second", "in", "[]", '[["n", 1]]'),
    ],
)  # fmt: skip
def test_what_a_stage_differs_in_is_said_in_words_of_the_file(
    tmp_path: Path, old: str, new: str, stage: str, facet: str, before: str | None, after: str
) -> None:
    text = GUARD.replace(old, new)
    text = text.replace("mode: permissive, mode: audit", "mode: audit")
    change = changed(tmp_path, GUARD, text)
    found = {each.stage: each for each in change.stages}
    assert found[f"guard/{stage}"].kind is Kind.CHANGED
    assert found[f"guard/{stage}"].what[facet] == Difference(before, after)
    assert change.plugins == {"s": Action.KEEP}


def test_another_with_reconfigures_and_names_the_stage(tmp_path: Path) -> None:
    change = changed(tmp_path, GUARD, GUARD.replace("limit: 1", "limit: 2"))
    assert change.plugins == {"s": Action.RECONFIGURE}
    assert [(each.stage, set(each.what)) for each in change.stages] == [("guard/first", {"with"})]


def test_a_pipeline_names_its_deadline_and_not_its_stages(tmp_path: Path) -> None:
    bounded = GUARD.replace("uses: s/ask,", "uses: s/ask, timeout: 200ms,")
    change = changed(tmp_path, bounded, bounded.replace("deadline: 1s", "deadline: 2s"))
    [pipeline] = change.pipelines
    assert (pipeline.pipeline, pipeline.hooks, pipeline.what) == (
        "guard",
        ("tool_pre_invoke",),
        {"deadline": Difference("1 s", "2 s")},
    )
    assert not change.stages
    without = changed(tmp_path, GUARD, GUARD.replace("deadline: 1s", "deadline: 2s"))
    assert [each.stage for each in without.stages] == ["guard/second"], "what has no timeout has the deadline"


def test_a_stage_of_finally_is_named_as_such(tmp_path: Path) -> None:
    with_final = f"{GUARD}    durable: false\n    finally:\n      last: {{ uses: s/ask, mode: audit }}\n"
    change = changed(tmp_path, GUARD, with_final)
    assert ("guard/finally/last", Kind.ADDED) in [(each.stage, each.kind) for each in change.stages]


def test_hooks_of_the_file_and_what_they_answer_unmatched_are_compared(tmp_path: Path) -> None:
    own = "hooks: { mine: { payload: { a: string } }, tool_pre_invoke: { unmatched: deny } }"
    change = changed(tmp_path, GUARD, GUARD, more=("", own))
    assert {each.hook: each.kind for each in change.hooks} == {"mine": Kind.ADDED, "tool_pre_invoke": Kind.CHANGED}
    other = own.replace("a: string", "a: int")
    [hook] = changed(tmp_path, GUARD, GUARD, more=(own, other)).hooks
    assert (hook.hook, hook.kind, set(hook.what)) == ("mine", Kind.CHANGED, {"declaration"})


def test_tests_of_the_file_are_no_change(tmp_path: Path) -> None:
    case = (
        "tests: [{ name: one, pipeline: guard, payload: { name: a, args: {} }, expect: [\"run.verdict == 'allow'\"] }]"
    )
    assert changed(tmp_path, GUARD, GUARD, more=("", case)).empty


def test_variables_that_a_worker_sees_make_other_processes_and_are_not_told(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, GUARD)
    manifest: Manifest = replace(loaded.manifests["s"], env_pass=("TOKEN",))
    loaded = replace(loaded, manifests={"s": manifest})
    before, after = outline(loaded), outline(loaded, {**HOST, "TOKEN": "t2"})
    change = difference(before, after)
    assert change.plugins == {"s": Action.SWAP}
    assert change.why == {"s": ("process",)}
    assert difference(before, outline(loaded, {**HOST, "UNSEEN": "x"})).empty
    assert "t1" not in repr(before) and "t1" not in str(difference(None, before).record())


def test_other_secrets_reconfigure(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, GUARD)
    change = difference(outline(loaded, secrets={"s": "h1"}), outline(loaded, secrets={"s": "h2"}))
    assert change.plugins == {"s": Action.RECONFIGURE}
    assert change.why == {"s": ("secrets",)}


def test_private_data_belongs_to_a_folder(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, GUARD)
    moved = {"s": replace(loaded.manifests["s"], root=tmp_path / "elsewhere")}
    assert difference(outline(loaded), outline(replace(loaded, manifests=moved))).empty
    manifests = {"s": replace(loaded.manifests["s"], data=True)}
    moved = {"s": replace(moved["s"], data=True)}
    kept, gone = (outline(replace(loaded, manifests=each)) for each in (manifests, moved))
    assert difference(kept, gone).plugins == {"s": Action.SWAP}


@pytest.mark.parametrize(
    ("section", "known", "apart"),
    [
        (Plan, {"name", "plugins", "routes", "hooks", "unmatched", "secrets", "warnings"}, {"cases", "files"}),
        (
            PluginPlan,
            {"name", "source", "replicas", "configs", "extras", "grant", "concurrency", "queue", "restart", "secrets"},
            {"version", "mark"},
        ),
    ],
)
def test_every_field_of_a_plan_is_in_its_outline_or_makes_no_difference(
    section: type, known: set[str], apart: set[str]
) -> None:
    """A new field belongs into `outline_of`, or among those that are left `apart`; then say so here.

    `extras` are in the fingerprint; `version` was judged when the file was read.
    """
    assert {field.name for field in fields(section)} == known | apart


def test_stages_and_pipelines_are_compared_field_by_field_without_being_listed(tmp_path: Path) -> None:
    text = f"{GUARD}    durable: false\n".replace("timeout: 200ms", "retry: none, timeout: 200ms")
    loaded = load_text(tmp_path, text)
    [pipeline] = outline(loaded).routes["tool_pre_invoke"]
    plan = loaded.plan.routes["tool_pre_invoke"][0]
    said = {field.name for field in fields(PipelinePlan) if getattr(plan, field.name) is not None}
    renamed = {"deadline_seconds": "deadline", "undo_seconds": "undo_deadline", "confirm_seconds": "confirm_within"}
    assert set(pipeline.facets) == {renamed.get(n, n) for n in said - {"name", "hook", "stages", "finals", "mark"}}
    stage = plan.stages[1]
    told = {field.name for field in fields(StagePlan) if getattr(stage, field.name) is not None}
    told = {{"inputs": "in", "undo": "compensate"}.get(n, n) for n in told}
    own = {"with", "mode", "on_error", "timeout"}
    assert set(pipeline.stages["second"]) == told - {"id", "index", "ancestors", "variants", "mark"} | own
    assert {field.name for field in fields(Variant)} == {"when", "config", "mode", "on_error", "timeout_seconds"}
    assert "retry" in {field.name for field in fields(UndoPlan)}


def test_where_a_secret_is_found_is_a_change_that_touches_no_plugin(tmp_path: Path) -> None:
    def secret(source: str) -> str:
        return f"secrets: {{ token: {{ {source} }} }}"

    change = changed(tmp_path, GUARD, GUARD, more=(secret("from: env, name: A"), secret("from: env, name: B")))
    assert change.secrets == {"token": Difference("env A", "env B")}
    assert change.plugins == {"s": Action.KEEP}
    assert not change.empty
