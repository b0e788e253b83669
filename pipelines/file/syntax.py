"""What the YAML parser's complaints mean to somebody who wrote a pipeline file. It parses nothing itself."""

from __future__ import annotations

import re

import yaml

from pipelines.problem import Mark, Problem

__all__ = ["bad_character", "explain_error"]

# What libyaml says, and what the writer has to do. The first that matches is used.
_SENTENCES = (
    ("found character that cannot start any token", "no value starts with this character: quote the value"),
    ("mapping values are not allowed", "`:` is not expected here: indent like the neighbours, or quote the value"),
    ("block sequence entries are not allowed", "`- ` starts a list on a line of its own"),
    ("did not find expected ',' or '}'", "`{` needs `,` between entries and `}` at its end; quote values with braces"),
    ("did not find expected ',' or ']'", "`[` needs `,` between its items and `]` at its end"),
    ("did not find expected '-' indicator", "every item of this list starts with `- ` at the same indentation"),
    ("did not find expected key", "a key is expected here: indent it like its neighbours, and quote values as a whole"),
    ("could not find expected ':'", "a key needs `: ` after it"),
    ("found unexpected end of stream", "a quote is opened here or above and never closed"),
    ("found unexpected document indicator", "a quote is opened above and never closed"),
    ("found unknown escape character", "unknown escape: use single quotes, or write two backslashes for one"),
    ("invalid Unicode character escape", "this escape stands for no character"),
    ("did not find expected hexdecimal number", "an escape like \\x41 needs hexadecimal digits"),
    ("did not find expected node content", "a value is expected here"),
    ("did not find expected <document start>", "the file holds one document, and this does not belong to it"),
    ("expected alphabetic or numeric", "`&` and `*` start an anchor or alias in YAML: quote the value"),
    ("did not find expected whitespace or line break", "a space is expected here: quote the value"),
    ("found a tab character", "indent with spaces, not with a tab"),
    ("found undefined tag handle", "tags are not allowed: quote a value that starts with `!`"),
)  # fmt: skip

# A value of this line that starts with `!` and is not quoted: `when: !has(x)`.
_BANG = r"(?:^|[:\-\[{,])\s*(![^\s'\"]*)"


def explain_error(error: yaml.YAMLError, text: str, file: str) -> Problem:
    """Turn what libyaml raised into the one problem to report."""
    if isinstance(error, yaml.reader.ReaderError):
        return bad_character(text, file)
    place = getattr(error, "problem_mark", None)
    if place is None or "could not find expected ':'" in str(error):
        place = getattr(error, "context_mark", None)  # where the key starts that never became one
    if place is None:
        return Problem(Mark(file), "syntax", "", "the text is not YAML")
    lines = text.splitlines() or [""]
    # At the end of the text libyaml points below the last line.
    row = min(place.line, len(lines) - 1)
    column = place.column if place.line < len(lines) else len(lines[row])
    return _unquoted(lines[row], row, column, file) or _plain(error, lines[row], Mark(file, row + 1, column + 1))


def _unquoted(line: str, row: int, column: int, file: str) -> Problem | None:
    if line[:column].endswith("$") and line[column : column + 1] == "{":
        message = 'quote an expression inside braces: "${...}"'
        return Problem(Mark(file, row + 1, column), "unquoted", "", message)
    bang = re.search(_BANG, line[: column + 1])
    if bang is None:
        return None
    message = "quote a value that starts with `!`, YAML takes it for a tag"
    return Problem(Mark(file, row + 1, bang.start(1) + 1), "unquoted", "", message)


def _plain(error: yaml.YAMLError, line: str, mark: Mark) -> Problem:
    said = f"{getattr(error, 'problem', '')}"
    if line[mark.column - 1 : mark.column] == "\t" or "\t" in line[: len(line) - len(line.lstrip())]:
        return Problem(mark, "syntax", "", "indent with spaces, not with a tab")
    sentence = next((ours for theirs, ours in _SENTENCES if theirs in said), "the text is not YAML from here on")
    return Problem(mark, "syntax", "", sentence)


def bad_character(text: str, file: str) -> Problem:
    """Name the first character of `text` that YAML does not allow."""
    index = next((i for i, character in enumerate(text) if not _printable(character)), 0)
    before = text[:index]
    mark = Mark(file, before.count("\n") + 1, index - before.rfind("\n"))
    return Problem(mark, "encoding", "", f"the character U+{ord(text[index]):04X} is not allowed in YAML")


def _printable(character: str) -> bool:
    """YAML 1.2 section 5.1: what may stand in a document."""
    code = ord(character)
    return (
        code in (0x09, 0x0A, 0x0D, 0x85)
        or 0x20 <= code <= 0x7E
        or 0xA0 <= code <= 0xD7FF
        or (0xE000 <= code <= 0xFFFD and code != 0xFEFF)
        or 0x10000 <= code <= 0x10FFFF
    )
