"""`penstock explain`: what may stand at a place of a pipeline file, what does, and which layer set it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.completing import places
from orchestrator.cli.failures import Exit, write
from orchestrator.cli.options import EXISTING, json_option, profile_option

if TYPE_CHECKING:
    from pipelines.file.explain import Explanation, Member
    from pipelines.file.tree import Path as Place
    from pipelines.file.tree import Table

__all__ = ["explain"]


@click.command(short_help="Say what may stand at a place of a pipeline file, and what does.")
@click.argument("place", metavar="[PATH.IN.FILE]", default="", shell_complete=places)
@click.option(
    "--file",
    "-f",
    metavar="FILE",
    type=EXISTING,
    help="The pipeline file, or its folder. Default: pipeline.yaml here; without one, the language alone.",
)
@profile_option
@json_option("Print the explanation as one JSON object.")
def explain(place: str, file: Path | None, profile: str | None, as_json: bool) -> Exit:
    """Explain a place such as pipelines.guard.stages.pii.timeout: its meaning, its type, and the keys below it.

    With a file, also its value there, and whether the file, an include, a profile or a default set it.
    """
    from orchestrator.loading import load_tree
    from pipelines.file.explain import NoSuchPath
    from pipelines.file.explain import explain as looked_up

    if file is None and Path(place).exists() and place:
        file, place = Path(place), ""
    source = file or (Path() if Path("pipeline.yaml").is_file() else None)
    try:
        found = _explained(place) if source is None else looked_up(load_tree(source, profile=profile), place)
    except NoSuchPath as error:
        raise click.BadParameter(str(error), param_hint="PATH.IN.FILE") from None
    if as_json:
        click.echo(json.dumps(_record(found, with_file=source is not None), indent=2, ensure_ascii=False))
    else:
        _show(found, with_file=source is not None)
    return Exit.FINE


def _explained(place: str) -> Explanation:
    """What the language says of a place; any name will do for a stage or a pipeline where there is no file."""
    from pipelines.file.explain import NoSuchPath, read_path
    from pipelines.file.explain import explain as looked_up

    path = read_path(place)
    try:
        return looked_up(_imagined(path[:-1]), place)
    except NoSuchPath:
        return looked_up(_imagined(path), place)


def _imagined(path: Place) -> Table:
    """A document that has nothing but the names of `path`."""
    from pipelines.file.tree import Entry, Listing, Table, Tree
    from pipelines.problem import Mark

    mark = Mark("")
    tree: Tree = Table({}, mark, "default")
    for part in reversed(path):
        if isinstance(part, int):
            tree = Listing((tree,) * (part + 1), mark, "default")
        else:
            tree = Table({part: Entry(part, mark, tree)}, mark, "default")
    assert isinstance(tree, Table)
    return tree


def _show(found: Explanation, *, with_file: bool) -> None:
    write(click.style(found.path or "(the file)", bold=True))
    write("")
    formatter = click.HelpFormatter(max_width=100)
    formatter.indent()
    formatter.write_text(found.documentation)
    formatter.write_paragraph()
    formatter.write_dl([(name, text) for name, text in _facts(found, with_file=with_file) if text])
    if found.members:
        formatter.write_paragraph()
        formatter.write_text("keys:")
        formatter.indent()
        formatter.write_dl([(member.name, _said(member, with_file=with_file)) for member in found.members])
    write(formatter.getvalue().rstrip("\n"))


def _facts(found: Explanation, *, with_file: bool) -> list[tuple[str, str]]:
    facts = [("type", found.type), ("required", "yes" if found.required else "no")]
    if not with_file:
        return [*facts, ("default", _value(found) if found.mark is None else "")]
    return [*facts, ("value", _value(found)), ("set by", _origin(found))]


def _value(found: Explanation) -> str:
    if found.value is None and found.layer == "default":
        return ""
    return json.dumps(found.value, ensure_ascii=False)


def _origin(found: Explanation) -> str:
    if found.mark is None:
        return "default" if found.value is not None else "nobody"
    through = f", through {found.inherited}" if found.inherited else ""
    return f"{found.layer}{through}: {found.mark}"


def _said(member: Member, *, with_file: bool) -> str:
    where = f" [{member.layer}, line {member.mark.line}]" if with_file and member.mark is not None else ""
    return member.documentation + where


def _record(found: Explanation, *, with_file: bool) -> dict[str, object]:
    return {
        "path": found.path,
        "documentation": found.documentation,
        "type": found.type,
        "required": found.required,
        "value": found.value if with_file or found.mark is None else None,
        "layer": found.layer if with_file else None,
        "place": str(found.mark) if with_file and found.mark is not None else None,
        "inherited": found.inherited,
        "members": [
            {
                "name": member.name,
                "documentation": member.documentation,
                "layer": member.layer if with_file else None,
                "place": str(member.mark) if with_file and member.mark is not None else None,
            }
            for member in found.members
        ],
    }
