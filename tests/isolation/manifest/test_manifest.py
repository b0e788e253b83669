"""Manifests: what is accepted, and every mistake with its exact place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from isolation.errors import ManifestError
from isolation.manifest import Effects, Manifest, Reload, SourceKind, read_manifest
from isolation.manifest.standards import HOST_PROTOCOL
from isolation.protocol.messages import PROTOCOL_VERSION

STAGE = "[tool.penstock.stages.mask]\n"
PROJECT = '[project]\nname = "guard"\nversion = "1.2"\ndependencies = []\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plugin.py").write_text("raise SystemExit('plugin code was run')\n")
    return tmp_path


def write(folder: Path, text: str) -> Path:
    (folder / "pyproject.toml").write_text(text)
    return folder


def problems(source: Path) -> list[str]:
    """Read a wrong manifest; return `LINE:COLUMN PATH MESSAGE[ ->SUGGESTION]` of each mistake."""
    with pytest.raises(ManifestError) as caught:
        read_manifest(source)
    return [
        f"{found.line}:{found.column} {found.path} {found.message}"
        + (f" ->{found.suggestion}" if found.suggestion else "")
        for found in caught.value.problems
    ]


def only(source: Path) -> str:
    found = problems(source)
    assert len(found) == 1, found
    return found[0]


def test_the_manifest_of_the_design_is_read_whole(folder: Path) -> None:
    (folder / "schema.json").write_text('{"type": "object", "properties": {"words": {"type": "array"}}}')
    text = """
[project]
name = "penstock-pii-filter"
version = "1.5.0"
requires-python = ">=3.11"
dependencies = ["phonenumbers>=9,<10"]
optional-dependencies = { Fast_RE = ["google-re2"] }

[tool.penstock]
api = ">=1.0,<2"
entry = "plugin:plugin"
summary = "Mask personal data"
config-schema = "schema.json"
data = true
reload = "replace"
extras = ["fast-re"]
concurrency = 8
sdists = ["Old_Thing"]

[tool.penstock.stages.mask]
effects = "external"
idempotent = true
outputs = { found = "int" }

[tool.penstock.stages.mask.hooks]
tool_pre_invoke = { reads = ["payload.args"], writes = ["payload.args"] }
tool_post_invoke = {}

[tool.penstock.stages.look]
hooks = ["tool_pre_invoke"]

[tool.penstock.stages.unmask]
undoes = "mask"

[tool.penstock.permissions]
network = ["example.org:443"]
subprocess = true
secrets = ["token"]
optional-secrets = ["mac"]

[tool.penstock.env]
set = { TOKENIZERS_PARALLELISM = "false" }
pass = ["HF_HOME"]

[tool.penstock.limits]
memory = "256MiB"
startup = "1.5m"
kill-after = "250ms"
"""
    manifest = read_manifest(write(folder, text))
    assert (manifest.name, manifest.version, manifest.kind) == ("penstock-pii-filter", "1.5.0", SourceKind.PROJECT)
    assert (manifest.entry, manifest.command, manifest.concurrency) == ("plugin:plugin", None, 8)
    assert (manifest.data, manifest.reload, manifest.sdists) == (True, Reload.REPLACE, frozenset({"old-thing"}))
    assert (manifest.extras, manifest.available_extras) == (("fast-re",), frozenset({"fast-re"}))
    assert manifest.config_schema is not None
    assert manifest.config_schema["type"] == "object"
    mask, look = manifest.stages["mask"], manifest.stages["look"]
    assert (mask.effects, mask.idempotent, dict(mask.outputs)) == (Effects.EXTERNAL, True, {"found": "int"})
    assert mask.hooks is not None
    assert mask.hooks["tool_pre_invoke"].writes == ("payload.args",)
    assert mask.hooks["tool_post_invoke"].writes is None
    assert look.hooks is not None
    assert list(look.hooks) == ["tool_pre_invoke"]
    assert (mask.undoes, manifest.stages["unmask"].undoes, manifest.undoes) == (None, "mask", {"unmask": "mask"})
    assert manifest.permissions.network == ("example.org:443",)
    assert (manifest.permissions.secrets, manifest.permissions.optional_secrets) == (("token",), ("mac",))
    assert (dict(manifest.env_set), manifest.env_pass) == ({"TOKENIZERS_PARALLELISM": "false"}, ("HF_HOME",))
    assert manifest.limits.memory_bytes == 256 * 2**20
    assert (manifest.limits.startup_seconds, manifest.limits.kill_after_seconds) == (90.0, 0.25)


def test_defaults_ask_for_nothing(folder: Path) -> None:
    manifest = read_manifest(write(folder, STAGE))
    assert (manifest.name, manifest.version, manifest.kind) == (folder.name, "0", SourceKind.BARE)
    assert manifest.entry == "plugin:plugin"
    assert (manifest.limits.startup_seconds, manifest.limits.kill_after_seconds) == (10.0, 1.0)
    assert manifest.stages["mask"].hooks is None
    assert not manifest.permissions.subprocess


def test_a_folder_with_requirements_needs_no_project_table(folder: Path) -> None:
    (folder / "requirements.txt").write_text("six\n")
    text = '[tool.penstock]\nname = "words"\nversion = "3"\nrequires-python = ">=3.12"\n' + STAGE
    manifest = read_manifest(write(folder, text))
    assert (manifest.kind, manifest.name, manifest.version) == (SourceKind.REQUIREMENTS, "words", "3")
    assert manifest.requires_python == ">=3.12"


def test_dependencies_of_the_project_win_over_requirements(folder: Path) -> None:
    (folder / "requirements.txt").write_text("six\n")
    assert read_manifest(write(folder, PROJECT + STAGE)).kind is SourceKind.PROJECT


def script(folder: Path, block: str, name: str = "one.py") -> Path:
    file = folder / name
    lines = "".join(f"# {line}".rstrip() + "\n" for line in block.splitlines())
    file.write_text(f'"""A plugin."""\n\n# /// script\n{lines}# ///\n\nraise SystemExit("plugin code was run")\n')
    return file


def test_a_single_file_carries_its_manifest(folder: Path) -> None:
    block = 'requires-python = ">=3.11"\ndependencies = ["six"]\n\n' + STAGE
    manifest = read_manifest(script(folder, block))
    assert (manifest.kind, manifest.name, manifest.entry) == (SourceKind.SCRIPT, "one", "one:plugin")
    assert (manifest.requires_python, manifest.dependencies) == (">=3.11", ("six",))
    assert manifest.script == (folder / "one.py").resolve()


def test_a_mistake_in_a_single_file_has_the_place_in_that_file(folder: Path) -> None:
    found = only(script(folder, STAGE + 'efects = "none"\n'))
    assert found == "5:3 tool.penstock.stages.mask.efects unknown key ->effects"


def test_a_single_file_without_a_block_is_refused(folder: Path) -> None:
    (folder / "one.py").write_text("plugin = None\n")
    assert "no `# /// script` block" in only(folder / "one.py")


def test_a_command_plugin_needs_no_python(folder: Path) -> None:
    (folder / "run.pl").write_text("#!/usr/bin/perl\n")
    (folder / "run.pl").chmod(0o755)
    manifest = read_manifest(write(folder, '[tool.penstock]\ncommand = ["./run.pl", "-w"]\n' + STAGE))
    assert (manifest.command, manifest.entry, manifest.kind) == (("./run.pl", "-w"), None, SourceKind.BARE)


def test_every_mistake_is_told_at_once(folder: Path) -> None:
    text = """[project]
name = "bad"
dependencies = ["a b c"]
dynamic = ["version", "dependencies"]

[tool.penstock]
entyr = "x:y"
extras = ["fast"]
limits = { memory = "12Mb", startup = 5, kill_after = "1s" }

[tool.penstock.stages.Mask]
effects = "extern"
outputs = { found = "str" }
hooks = { tool_pre_invoke = { writes = ["args"], raeds = [] } }

[tool.penstock.stages.b]
idempotent = "yes"
"""
    found = [line.split(" ", 2)[:2] for line in problems(write(folder, text))]
    assert found == [
        ["1:2", "project.version"],
        ["3:17", "project.dependencies[0]"],
        ["4:23", "project.dynamic[1]"],
        ["7:1", "tool.penstock.entyr"],
        ["8:11", "tool.penstock.extras[0]"],
        ["9:21", "tool.penstock.limits.memory"],
        ["9:39", "tool.penstock.limits.startup"],
        ["9:42", "tool.penstock.limits.kill_after"],
        ["11:23", "tool.penstock.stages.Mask"],
        ["12:11", "tool.penstock.stages.Mask.effects"],
        ["13:21", "tool.penstock.stages.Mask.outputs.found"],
        ["14:41", "tool.penstock.stages.Mask.hooks.tool_pre_invoke.writes[0]"],
        ["14:50", "tool.penstock.stages.Mask.hooks.tool_pre_invoke.raeds"],
        ["17:14", "tool.penstock.stages.b.idempotent"],
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("config_schema = 'x'", "2:1 tool.penstock.config_schema unknown key ->config-schema"),
        ("raload = 'overlap'", "2:1 tool.penstock.raload unknown key ->reload"),
        ("reload = 'overlapp'", "2:10 tool.penstock.reload must be one of overlap, replace, not 'overlapp' ->overlap"),
        ("permisions = {}", "2:1 tool.penstock.permisions unknown key ->permissions"),
        ("permissions = { netwrk = [] }", "2:17 tool.penstock.permissions.netwrk unknown key ->network"),
        ("env = { set = { X = 1 } }", "2:21 tool.penstock.env.set.X must be a string, not 1"),
        ("concurrency = 0", "2:15 tool.penstock.concurrency must be at least 1, not 0"),
        ("api = 'one'", "2:7 tool.penstock.api 'one' is not a version specifier like '>=3.11,<4'"),
        ("api = '>=2'", "2:7 tool.penstock.api the plugin speaks protocol >=2, this host speaks 1.0"),
        ("entry = 'nope:plugin'", "2:9 tool.penstock.entry no nope.py and no package nope in the plugin's folder"),
        ("entry = 'plugin'", "2:9 tool.penstock.entry 'plugin' is not 'module:object'"),
        ("command = ['./gone']", "2:12 tool.penstock.command[0] no file './gone' in the plugin's folder"),
        ("command = []", "2:11 tool.penstock.command command needs at least a program"),
        ("config-schema = 'gone.json'", "2:17 tool.penstock.config-schema no file 'gone.json' in the plugin's folder"),
        ("config-schema = '../x'", "2:17 tool.penstock.config-schema '../x' is outside the plugin's folder"),
        ("limits.startup = '5 s'", "2:18 tool.penstock.limits.startup '5 s' is not a duration with its unit;"
         " write it like '5s'"),
        ("stages.mask.hooks = [1]", "2:21 tool.penstock.stages.mask.hooks the short form of hooks is a list of hook"
         " names"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(folder: Path, line: str, expected: str) -> None:
    stages = "" if line.startswith("stages") else STAGE
    assert only(write(folder, f"[tool.penstock]\n{line}\n{stages}")) == expected


RESERVE = "[tool.penstock.stages.reserve]\nhooks = ['a', 'b']\n[tool.penstock.stages.release]\nundoes = 'reserve'\n"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("undoes = 'again'", "6:10 tool.penstock.stages.again.undoes a stage cannot undo itself"),
        ("undoes = 'release'", "6:10 tool.penstock.stages.again.undoes 'release' undoes 'reserve' itself;"
         " an undo cannot be undone"),
        ("undoes = 'reserve'", "6:10 tool.penstock.stages.again.undoes 'reserve' is undone by 'release' already;"
         " a stage has one undo at most"),
        ("undoes = 'resrve'", "6:10 tool.penstock.stages.again.undoes 'resrve' is no stage of this manifest"
         " (it has: reserve) ->reserve"),
        ("undoes = 7", "6:10 tool.penstock.stages.again.undoes must be a string, not 7"),
        ("undose = 'reserve'", "6:1 tool.penstock.stages.again.undose unknown key ->undoes"),
    ],
)  # fmt: skip
def test_an_undo_undoes_one_other_stage_of_its_manifest(folder: Path, lines: str, expected: str) -> None:
    assert only(write(folder, f"{RESERVE}[tool.penstock.stages.again]\n{lines}\n")) == expected


def test_what_is_signed_is_an_output(folder: Path) -> None:
    stage = "[tool.penstock.stages.a]\noutputs = { result = 'object' }\nsigns = "
    assert read_manifest(write(folder, f"{stage}['result']\n")).stages["a"].signs == ("result",)
    wrong = only(write(folder, f"{stage}['resutl']\n"))
    assert wrong == "3:9 tool.penstock.stages.a.signs 'resutl' is none of its outputs ->result"


def test_what_is_counted_is_an_output_of_few_values(folder: Path) -> None:
    stage = "[tool.penstock.stages.a]\noutputs = { codes = 'list', result = 'object' }\ncounts = "
    assert read_manifest(write(folder, f"{stage}['codes']\n")).stages["a"].counts == ("codes",)
    kind = only(write(folder, f"{stage}['result']\n"))
    assert kind == "3:10 tool.penstock.stages.a.counts 'result' is no string or list, whose values could be counted"
    assert "'code' is none of its outputs ->codes" in only(write(folder, f"{stage}['code']\n"))


def test_commands_are_functions_of_the_plugin(folder: Path) -> None:
    good = f"[tool.penstock.commands]\nword-list = 'plugin:plugin.main'\n{STAGE}"
    assert dict(read_manifest(write(folder, good)).commands) == {"word-list": "plugin:plugin.main"}
    assert only(write(folder, good.replace("word-list", "Words"))).startswith(
        "2:1 tool.penstock.commands.Words 'Words' is not the name of a command"
    )
    assert only(write(folder, good.replace("plugin:plugin.main", "other:main"))) == (
        "2:13 tool.penstock.commands.word-list no other.py and no package other in the plugin's folder"
    )
    assert "is not 'module:object'" in only(write(folder, good.replace("plugin:plugin.main", "plugin")))


def test_a_stage_that_admits_says_where(folder: Path) -> None:
    manifest = read_manifest(write(folder, "[tool.penstock.stages.a]\nadmits = true\nhooks = ['x']\n"))
    assert manifest.stages["a"].admits
    anywhere = only(write(folder, "[tool.penstock.stages.a]\nadmits = true\n"))
    assert anywhere.startswith("2:10 tool.penstock.stages.a.admits say under `hooks`")
    undo = only(write(folder, f"{RESERVE}admits = true\n"))
    assert undo == "5:10 tool.penstock.stages.release.admits a stage that undoes another admits nothing"


@pytest.mark.parametrize(
    ("hooks", "expected"),
    [
        ("['a']", "5:9 tool.penstock.stages.release.hooks lacks b of 'reserve'; an undo is called wherever its stage"
         " was; leave it out"),
        ("['b', 'a']", None),
    ],
)  # fmt: skip
def test_the_hooks_of_an_undo_are_those_of_its_stage_and_need_not_be_written(
    folder: Path, hooks: str, expected: str | None
) -> None:
    text = f"{RESERVE}hooks = {hooks}\n"
    if expected is None:
        assert read_manifest(write(folder, text)).undoes == {"release": "reserve"}
    else:
        assert only(write(folder, text)) == expected


def test_an_undo_of_a_stage_for_any_hook_is_for_any_hook(folder: Path) -> None:
    text = STAGE + "[tool.penstock.stages.unmask]\nundoes = 'mask'\nhooks = ['a']\n"
    assert "lacks every other hook of 'mask'" in only(write(folder, text))


def test_the_protocol_of_the_manifest_is_the_protocol_of_the_host() -> None:
    assert HOST_PROTOCOL == PROTOCOL_VERSION


def test_a_plugin_without_stages_is_refused(folder: Path) -> None:
    assert only(write(folder, '[tool.penstock]\nsummary = "x"\n')) == "1:7 tool.penstock.stages is required"
    assert "at least one stage" in only(write(folder, "[tool.penstock]\nstages = {}\n"))


def test_entry_and_command_exclude_each_other(folder: Path) -> None:
    text = '[tool.penstock]\nentry = "plugin:plugin"\ncommand = ["perl", "x.pl"]\n' + STAGE
    assert only(write(folder, text)) == "2:1 tool.penstock.entry a plugin has an entry or a command, not both"


def test_a_name_is_said_once(folder: Path) -> None:
    text = PROJECT + '[tool.penstock]\nname = "other"\n' + STAGE
    assert only(write(folder, text)).startswith("6:1 tool.penstock.name say it in [project]")


def test_text_that_is_not_toml_is_refused_with_its_place(folder: Path) -> None:
    assert only(write(folder, "[tool.penstock]\nentry = \n")).startswith("2:9 pyproject.toml not TOML")


def test_a_folder_without_a_manifest_says_what_is_missing(folder: Path) -> None:
    assert "no such file" in only(folder)
    assert "is missing" in only(write(folder, PROJECT))
    assert "no such file or folder" in only(folder / "nowhere")


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("{", "not JSON"),
        ("[]", "must be a JSON Schema of an object"),
        ('{"properties": {}}', "must be a JSON Schema of an object"),
        ('{"type": "object", "properties": {"a": {"type": "strin"}}}', "at properties/a/type"),
        ('{"type": "object", "$ref": "https://example.invalid/schema"}', "not a valid JSON Schema"),
    ],
)
def test_a_config_schema_must_describe_an_object(folder: Path, schema: str, message: str) -> None:
    (folder / "schema.json").write_text(schema)
    assert message in only(write(folder, '[tool.penstock]\nconfig-schema = "schema.json"\n' + STAGE))


def test_places_survive_every_way_to_write_toml(folder: Path) -> None:
    """Dotted keys, quoted keys, arrays of tables, multi-line strings and comments before the mistake."""
    text = '''[[tool.other]]
a = [1, { b = "]" }, 3] # [tool.penstock]
[[tool.other]]
"a.b"."c" = """
[tool.penstock]
"""
[tool."penstock"]
summary = \'\'\'
x = 1\'\'\'
"stages"."mask".outputs = { "x" = "int", y = "nit" }
'''
    assert only(write(folder, text)).startswith("10:46 tool.penstock.stages.mask.outputs.y must be one of")


def test_reading_a_manifest_twice_gives_equal_values(folder: Path) -> None:
    source = write(folder, PROJECT + STAGE)
    first: Manifest = read_manifest(source)
    assert first == read_manifest(source)


WHOLE = (
    PROJECT
    + """
[tool.penstock]
api = ">=1.0"
extras = []
limits = { memory = "1MiB", startup = "5s" }
env.pass = ["HOME"]
[tool.penstock.stages.mask]
outputs = { found = "int" }
hooks = { tool_pre_invoke = { reads = ["payload.args"], writes = ["payload.args"] } }
[tool.penstock.stages.unmask]
undoes = "mask"
[tool.penstock.permissions]
network = ["example.org"]
"""
)
VALUES = ("1", "1.5", "true", '""', '"x"', "[]", "[1]", "{}", "{ a = 1 }", "[[]]", "1979-05-27", "nan", '"[tool]"')


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(data=strategies.data())
def test_whatever_is_written_is_read_or_refused_with_places_in_the_file(
    folder: Path, data: strategies.DataObject
) -> None:
    """Every value of a good manifest in turn becomes one of another type, or some text is cut out."""
    lines = WHOLE.splitlines()
    for _ in range(data.draw(strategies.integers(1, 3))):
        at = data.draw(strategies.integers(0, len(lines) - 1))
        key, equals, _ = lines[at].partition(" = ")
        if equals and data.draw(strategies.booleans()):
            lines[at] = f"{key} = {data.draw(strategies.sampled_from(VALUES))}"
        else:
            start = data.draw(strategies.integers(0, len(lines[at])))
            lines[at] = lines[at][:start] + lines[at][start + data.draw(strategies.integers(1, 9)) :]
    try:
        read_manifest(write(folder, "\n".join(lines)))
    except ManifestError as error:
        for problem in error.problems:
            assert 1 <= problem.line <= len(lines) + 1
            assert problem.message


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "plugin.py")
    assert problems(tmp_path / "plugin.py") == ["1:1 plugin.py cannot be read: it is no file"]
