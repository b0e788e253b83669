"""From a path on disk to a plan: what lints, loads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from generated_files import Offer, files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.loading import load, reload
from pipelines.file.overriding import Override
from pipelines.file.section import keys_of
from pipelines.file.source import parse
from pipelines.file.spec import PoliciesSpec
from pipelines.file.tree import Path as KeyPath
from pipelines.file.tree import find
from pipelines.plan import Mode
from pipelines.problem import Problem, SpecError

CORPUS = Path(__file__).parents[1] / "corpus"
OFFER = Offer(str(CORPUS / "plugins" / "ledger"), "peek", "balance", "reserve", "release", "append", durable=True)
GOOD = files(OFFER)
SAFE = frozenset({"Busy", "Retryable"})
# A file is written anew for each example, which is what the health check asks about.
SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])

PLUGIN = '[tool.penstock]\nname = "a"\nversion = "1"\n\n[tool.penstock.stages.run]\n'
FILE = """\
version: 1
name: guard
plugins: { a: { source: ./a } }
pipelines: { g: { hook: tool_pre_invoke, stages: { s: { uses: a/run } } } }
"""


def write(folder: Path, text: str = FILE) -> Path:
    (folder / "a").mkdir(exist_ok=True)
    (folder / "a" / "pyproject.toml").write_text(PLUGIN)
    (folder / "a" / "plugin.py").write_text("plugin = None\n")
    (folder / "pipeline.yaml").write_text(text)
    return folder / "pipeline.yaml"


def test_a_folder_stands_for_its_pipeline_file(tmp_path: Path) -> None:
    file = write(tmp_path)
    assert load(tmp_path).path == load(file).path == file


def test_manifests_come_by_the_names_of_the_file(tmp_path: Path) -> None:
    assert {name: manifest.root for name, manifest in load(write(tmp_path)).manifests.items()} == {"a": tmp_path / "a"}


def test_a_source_is_relative_to_the_file_that_names_it(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "plugins.yaml").write_text("plugins: { a: { source: ../a } }\n")
    text = FILE.replace("plugins: { a: { source: ./a } }", "include: [shared/plugins.yaml]")
    assert load(write(tmp_path, text)).manifests["a"].root == tmp_path / "a"


def test_files_are_named_as_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, FILE.replace("g: {", "g: { hok: x,"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match=r"^pipeline.yaml:4:19: unknown-key"):
        load(tmp_path)


def test_a_wrong_manifest_is_reported_at_its_own_place(tmp_path: Path) -> None:
    file = write(tmp_path)
    (tmp_path / "a" / "pyproject.toml").write_text(PLUGIN + 'efects = "none"\n')
    with pytest.raises(SpecError, match=r"a/pyproject.toml:6:1: manifest tool.penstock.stages.run.efects"):
        load(file)


def test_a_file_that_is_not_there_is_a_problem_and_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="unreadable"):
        load(tmp_path)


def test_the_tree_has_the_profile_that_was_asked_for(tmp_path: Path) -> None:
    file = write(tmp_path, FILE + "profiles: { dev: { plugins: { a: { replicas: 2 } } } }\n")
    assert load(file, profile="dev").plan.plugins["a"].replicas == 2
    assert find(load(file, profile="dev").tree, ("plugins", "a", "replicas")).value.layer == "profile dev"
    assert load(file).plan.plugins["a"].replicas == 1


@SHARED_FOLDER
@given(content=GOOD)
def test_a_good_file_loads_whatever_it_holds(tmp_path: Path, content: dict[str, object]) -> None:
    """The order is topological and the ancestors are closed, for each hook of each pipeline."""
    file = tmp_path / "pipeline.yaml"
    file.write_text(json.dumps(content))
    plan = load(file).plan
    for pipelines in plan.routes.values():
        for pipeline in pipelines:
            for stage in pipeline.stages:
                assert all(need.stage < stage.index for need in stage.needs)
                for need in stage.needs:
                    closed = pipeline.stages[need.stage].ancestors | 1 << need.stage
                    assert stage.ancestors & closed == closed
                assert all(variant.timeout_seconds > 0 for variant in stage.variants)
                assert stage.idempotent or stage.retry is None or stage.retry.on <= SAFE
                assert stage.undo is None or stage.undo.config in plan.plugins[stage.undo.plugin].configs
            assert all(final.variants[0].mode is not Mode.ENFORCE for final in pipeline.finals)
    assert load(file, profile="dev" if "profiles" in content else None).manifests


CHOSEN = {("plugins",), ("pipelines",), *(("policies", kind) for kind in keys_of(PoliciesSpec))}


def keys(content: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Paths of all keys that belong to the language, and not to whoever wrote the file."""
    if isinstance(content, dict) and path[-1:] not in (("in",), ("otherwise",)):
        for key, value in content.items():
            in_file = path[2:] if path[:1] == ("profiles",) else path  # a profile has the shape of the file
            by_author = path == ("profiles",) or in_file in CHOSEN or path[-1:] in (("stages",), ("finally",))
            yield from ([] if by_author else [(*path, key)])
            yield from keys(value, (*path, key))
    if isinstance(content, list):
        for i, item in enumerate(content):
            yield from keys(item, (*path, i))


@SHARED_FOLDER
@given(content=GOOD, data=st.data())
def test_a_key_with_a_letter_too_many_is_refused_at_its_place(
    tmp_path: Path, content: dict[str, object], data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(sorted(keys(content), key=str)))
    text = json.dumps(content)
    tree, _ = parse(text.encode(), "x")
    assert tree is not None
    column = find(tree, path).key.column
    file = tmp_path / "pipeline.yaml"
    file.write_text(text[:column] + "q" + text[column:])
    with pytest.raises(SpecError) as refused:
        load(file)
    wrong = {(p.mark.line, p.mark.column): p.code for p in refused.value.problems}
    assert wrong[1, column] in ("unknown-key", "missing-key")


EXAMPLE = (CORPUS.parents[1] / "examples" / "gateway-guard" / "pipeline.yaml").read_text("utf-8")
PIECES = [
    "!",
    "${",
    "}",
    "]",
    "&a ",
    "*a",
    "\t",
    "\n",
    "- ",
    ": ",
    "null",
    "'",
    '"',
    "1e9",
    "\x00",
    "é",
    "<<: ",
    "[",
    "{",
]


@SHARED_FOLDER
@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(EXAMPLE)), st.integers(0, 12), st.sampled_from(PIECES)), min_size=1, max_size=4
    )
)
def test_whatever_is_typed_gives_a_plan_or_problems_with_places(
    tmp_path: Path, edits: list[tuple[int, int, str]]
) -> None:
    """Never a traceback."""
    text = EXAMPLE
    for at, length, piece in edits:
        text = text[:at] + piece + text[at + length :]
    file = tmp_path / "pipeline.yaml"
    file.write_text(text, encoding="utf-8")
    problems: tuple[Problem, ...] = ()
    try:
        load(file)
    except SpecError as error:
        problems = error.problems
    lines = text.count("\n") + 1
    assert all(1 <= p.mark.line <= lines for p in problems if p.mark.file.endswith("pipeline.yaml"))


def test_a_plugin_that_should_not_be_used_any_more_is_warned_of_where_it_is_named(tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / "a" / "pyproject.toml").write_text(
        PLUGIN.replace('version = "1"', 'version = "1"\ndeprecated = "use b"')
    )
    [warning] = load(path).plan.warnings
    assert (warning.code, warning.path, warning.mark.line) == ("deprecated", "plugins.a.source", 3)
    assert warning.message == "the plugin is deprecated: use b"


def test_the_version_that_is_asked_for_stands_in_the_plan(tmp_path: Path) -> None:
    path = write(tmp_path, FILE.replace("source: ./a", "source: ./a, version: '<2'"))
    assert load(path).plan.plugins["a"].version == "<2"


def test_an_archived_plan_is_made_again_whatever_pythons_there_are_now(tmp_path: Path) -> None:
    path = write(tmp_path)
    loaded = load(path)
    text = PLUGIN.replace('version = "1"', 'version = "1"\nrequires-python = ">=3.99"')
    (tmp_path / "a" / "pyproject.toml").write_text(text)
    with pytest.raises(SpecError, match="unfit-plugin"):
        load(path)
    assert reload(loaded.archive, {}).plan.plugins.keys() == {"a"}


@pytest.mark.parametrize("mode", [Mode.PERMISSIVE, Mode.DISABLED])
def test_no_override_lets_anything_in_without_the_stage_that_admits(tmp_path: Path, mode: Mode) -> None:
    """What lint refuses of a file is refused of a command at three at night as well."""
    text = FILE.replace("tool_pre_invoke", "server_pre_register")
    file = write(tmp_path, text.replace("s: { uses: a/run }", "s: { uses: a/run, needs: [t] }, t: { uses: a/look }"))
    manifest = tmp_path / "a" / "pyproject.toml"
    manifest.write_text(f"{PLUGIN}hooks = ['server_pre_register']\n[tool.penstock.stages.look]\n")
    override = Override("g/s", mode, 4e9, "an incident", "uid:0")
    assert load(file, overrides=[override]).plan.routes["server_pre_register"]
    manifest.write_text(
        manifest.read_text().replace("[tool.penstock.stages.run]", "[tool.penstock.stages.run]\nadmits = true")
    )
    assert load(file).plan.routes["server_pre_register"]
    with pytest.raises(SpecError) as refused:
        load(file, overrides=[override])
    assert {problem.code for problem in refused.value.problems} == {"unguarded"}
