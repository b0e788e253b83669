"""`in`: what a call is handed beside the payload. Each value is a constant, or one expression as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pipelines.expressions import Expect, Expression
from pipelines.file.tree import Listing, Path, Table, Tree, plain
from pipelines.lint.draft import Draft
from pipelines.lint.expressions import Desk, template

__all__ = ["TEMPLATE_SHIFT", "check_inputs", "inputs"]

TEMPLATE_SHIFT = len("${")
"""Where an expression starts in the text that holds it."""


def check_inputs(draft: Draft, path: Path, values: Mapping[str, object]) -> None:
    """Report every `${...}` under the `in` at `path` that is not a value as a whole."""
    for key in values:
        at = (*path, key)
        tree = draft.tree(at)
        if tree is not None and template(plain(tree)) is None:
            for deeper, text in _texts(tree, at):
                if "${" in text:
                    message = "`${...}` must be the whole value, directly under `in`; CEL can put text together"
                    mark = draft.inside(deeper, text.index("${"))
                    draft.error(deeper, "expression-syntax", message, at=mark)


def inputs(
    desk: Desk, path: Path, values: Mapping[str, object], check: Callable[[Path, Expression], None]
) -> Iterable[tuple[str, object]]:
    """Compile the `in` at `path` for one hook; `check` judges what each expression refers to."""
    for key, value in values.items():
        text = template(value)
        at = (*path, key)
        compiled = None if text is None else desk.compile(at, text, Expect.ANY, shift=TEMPLATE_SHIFT)
        if compiled is not None:
            check(at, compiled)
        yield key, value if text is None else compiled


def _texts(tree: Tree, path: Path) -> Iterable[tuple[Path, str]]:
    """Every text in a value, with its path."""
    if isinstance(tree, Table):
        for key, entry in tree.entries.items():
            yield from _texts(entry.value, (*path, key))
    elif isinstance(tree, Listing):
        for i, item in enumerate(tree.items):
            yield from _texts(item, (*path, i))
    elif isinstance(tree.value, str):
        yield path, tree.value
