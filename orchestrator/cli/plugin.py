"""`penstock plugin`: the author's commands, and the operator's one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.brought import listing, where_options
from orchestrator.cli.brought import run as brought
from orchestrator.cli.failures import Exit, printable, say, write
from orchestrator.cli.options import here_argument, json_option, offline_option, state_option

if TYPE_CHECKING:
    from isolation.conformance import Finding
    from isolation.manifest import Manifest
    from orchestrator.samples import Sample

__all__ = ["plugin"]

NO_TESTS = 5
"""What pytest exits with when it finds no test."""

_SIGNS = {"passed": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red")}
_FOLDER = click.argument("folder", metavar="FOLDER", type=click.Path(exists=True, path_type=Path))


@click.group(short_help="Begin, check, test, lock, restart a plugin; run its commands.")
def plugin() -> None:
    """For authors of plugins. FOLDER is a plugin's folder, or a single file with a PEP 723 block.

    `restart` and `exec` are for operators: the one starts a failed plugin of a running host again, the other runs a
    command that a plugin brings.
    """


@plugin.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--in",
    "parent",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="Where to make the folder. Default: here.",
)
def new(name: str, parent: Path) -> Exit:
    """Begin a plugin: a folder NAME with a manifest, its code, and a test that passes."""
    from isolation.template import write_template

    for path in write_template(parent / name, name):
        write(str(path))
    say(f"`penstock plugin test {parent / name}` runs its test")
    return Exit.FINE


@plugin.command()
@_FOLDER
@click.option(
    "--with",
    "configuration",
    metavar="JSON",
    default="{}",
    help="The configuration to try it with, as `with:` in a pipeline file. Default: {}.",
)
@click.option(
    "--sample",
    "samples",
    metavar="STAGE=FILE",
    multiple=True,
    help="Try STAGE with what the JSON file holds: `payload`, `input` or both. Default: a payload made from the hook.",
)
@offline_option
@json_option("Print the findings as one JSON list.")
def check(folder: Path, configuration: str, samples: tuple[str, ...], offline: bool, as_json: bool) -> Exit:
    """Start a plugin, in whatever language, and judge whether it keeps the protocol.

    Every stage is really called, with sample payloads; what a stage with an undo did is undone again. A plugin with
    `data = true` gets an empty directory for the while, never its own.
    """
    from isolation.conformance import Outcome
    from isolation.manifest import read_manifest

    manifest = read_manifest(folder)
    chosen = _configuration(manifest, configuration)
    tried = _given_samples(manifest, samples)
    _warn_of_effects(manifest)
    findings = _checked(manifest, chosen, tried, offline=offline, as_json=as_json)
    failed = sum(finding.outcome is Outcome.FAILED for finding in findings)
    if as_json:
        click.echo(json.dumps([_record(finding) for finding in findings], indent=2, ensure_ascii=False))
    else:
        passed = sum(finding.outcome is Outcome.PASSED for finding in findings)
        write(click.style(f"{passed} of {len(findings)} checks passed, {failed} failed", bold=True))
    return Exit.FAILED if failed else Exit.FINE


@plugin.command(context_settings={"ignore_unknown_options": True})
@_FOLDER
@offline_option
@click.argument("arguments", metavar="[-- PYTEST ARGUMENTS]", nargs=-1, type=click.UNPROCESSED)
def test(folder: Path, offline: bool, arguments: tuple[str, ...]) -> Exit:
    """Run a plugin's own tests with pytest, in an environment of their own."""
    from isolation.authoring import run_tests
    from isolation.manifest import read_manifest
    from isolation.store.places import default_store_root

    status = run_tests(read_manifest(folder), arguments, store=default_store_root(), offline=offline, heard=_heard)
    if status == NO_TESTS:
        say(f"{folder} has no tests; pytest looks for test_*.py")
    return Exit.FAILED if status else Exit.FINE


@plugin.command()
@click.argument("name", metavar="NAME")
@here_argument
@state_option
@json_option("Print how the plugin stands as one JSON object.")
def restart(name: str, path: Path, state: Path | None, as_json: bool) -> Exit:
    """Start the workers of a failed plugin again, in the host that serves PATH. NAME is its name in the file."""
    from orchestrator.cli.commanding import command

    found = command(path, state, "plugin.restart", {"name": name}, as_json=as_json)
    assert isinstance(found, Mapping)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        write(f"{name}: {found['state']}, {found['ready']} of {found['wanted']} replicas ready")
    return Exit.FINE


@where_options
@plugin.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("words", metavar="[NAME [ARGUMENTS]...]", nargs=-1, type=click.UNPROCESSED)
def run_command(plugin: Path | None, file: Path | None, offline: bool, words: tuple[str, ...]) -> int:
    """Run a command that a plugin brings, in the plugin's own environment; without NAME, list them.

    `penstock NAME ...` is the same. Everything after NAME is the plugin's own, and so is the exit status.
    """
    if not words:
        listing(plugin, file)
        return Exit.FINE
    return brought(words[0], plugin, file, words[1:], offline=offline)


@plugin.command()
@_FOLDER
@click.option("--upgrade", is_flag=True, help="Take the newest versions that the requirements allow.")
@offline_option
def lock(folder: Path, upgrade: bool, offline: bool) -> Exit:
    """Write a plugin's lock: every version and hash that its environment is built from."""
    from isolation.manifest import read_manifest
    from isolation.store.events import BuildEvent
    from isolation.store.store import Store, default_store_root
    from orchestrator.cli.progress import Bars, terminal_watches

    manifest = read_manifest(folder)
    with Store(default_store_root(), offline=offline) as store:
        with Bars(shown=terminal_watches(stdout_is_data=False)) as bars:
            bars.started(BuildEvent(manifest.name, "lock", "choosing versions"))
            written = store.lock(manifest, upgrade=upgrade)
        write(str(written))
    return Exit.FINE


def _heard(line: str) -> None:
    say(line)


def _configuration(manifest: Manifest, text: str) -> Mapping[str, object]:
    from pipelines.lint.schema_errors import misfits

    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="'--with'") from None
    wrong = misfits(manifest.config_schema or {"type": "object"}, value)
    if wrong:
        said = "; ".join(f"{'.'.join(map(str, each.path)) or 'it'}: {each.message}" for each in wrong)
        raise click.BadParameter(f"does not fit the plugin's schema: {said}", param_hint="'--with'")
    assert isinstance(value, dict)
    return value


def _given_samples(manifest: Manifest, written: tuple[str, ...]) -> dict[str, Sample]:
    """What `--sample STAGE=FILE` says, by stage."""
    from orchestrator.samples import BadSample, read_sample

    found: dict[str, Sample] = {}
    for text in written:
        stage, equals, file = text.partition("=")
        if not equals or stage not in manifest.stages:
            known = ", ".join(manifest.stages)
            raise click.BadParameter(f"{text!r} is not STAGE=FILE; the stages are {known}", param_hint="'--sample'")
        try:
            found[stage] = read_sample(Path(file))
        except BadSample as error:
            raise click.BadParameter(str(error), param_hint="'--sample'") from None
        undone = manifest.stages[stage].undoes
        if undone is not None and found[stage].payload is not None:
            said = f"{file}: an undo gets the payload of what it undoes; give it to {undone}, and {stage} an `input`"
            raise click.BadParameter(said, param_hint="'--sample'")
    return found


def _warn_of_effects(manifest: Manifest) -> None:
    """Say which stages do more than answer before they are called."""
    from isolation.manifest import Effects

    undone = set(manifest.undoes.values())
    told = [
        f"{name} ({stage.effects.value}, {'undone' if name in undone else 'not undone'} afterwards)"
        for name, stage in manifest.stages.items()
        if stage.undoes is None and (stage.effects is not Effects.NONE or name in undone)
    ]
    if told:
        say(f"the check really calls the stages that have effects: {', '.join(told)}")


def _checked(
    manifest: Manifest,
    configuration: Mapping[str, object],
    given: Mapping[str, Sample],
    *,
    offline: bool,
    as_json: bool,
) -> list[Finding]:
    import os

    from isolation.conformance import Subject
    from isolation.conformance import check as judge
    from isolation.spec import WorkerSpec
    from isolation.store.store import Store, default_store_root
    from orchestrator.cli.progress import Bars, terminal_watches
    from orchestrator.judging import complaint
    from orchestrator.samples import Sample, samples_for

    samples = {
        name: samples_for(stage.hooks, given.get(name, Sample()).payload) for name, stage in manifest.stages.items()
    }
    with Store(default_store_root(), offline=offline) as store:
        with Bars(shown=terminal_watches(stdout_is_data=as_json)) as bars:
            prepared = store.prepare(manifest, None, bars.started)
        spec = WorkerSpec.of(manifest.name, manifest, prepared, os.environ)
        subject = Subject(
            spec,
            samples,
            configuration,
            judge=partial(complaint, manifest),
            inputs={name: sample.input for name, sample in given.items()},
            idempotent=frozenset(name for name, stage in manifest.stages.items() if stage.idempotent),
            secrets=manifest.permissions.secrets,
        )
        return judge(subject, (lambda finding: None) if as_json else _show)


def _show(finding: Finding) -> None:
    sign, colour = _SIGNS[finding.outcome.value]
    write(f"{click.style(sign, fg=colour, bold=True)} {finding.check}")
    for line in finding.said.splitlines():
        write(f"    {printable(line)}")
    if finding.remedy:
        write(f"    {click.style('→', fg='cyan')} {finding.remedy}")


def _record(finding: Finding) -> dict[str, str]:
    return {
        "check": finding.check,
        "outcome": finding.outcome.value,
        "message": finding.said,
        "remedy": finding.remedy,
    }
