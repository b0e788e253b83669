"""YAML text to a tree: what scalars mean, where everything stands, and what is refused."""

from __future__ import annotations

import pytest

from pipelines.file.source import MAX_FILE_BYTES, parse
from pipelines.file.tree import Table, Tree, find, plain
from pipelines.problem import Mark


def read(text: str) -> Tree:
    tree, problems = parse(text.encode(), "f.yaml")
    assert not problems
    assert tree is not None
    return tree


def codes(data: bytes) -> list[tuple[str, str]]:
    return [(f"{p.mark.line}:{p.mark.column}", p.code) for p in parse(data, "f.yaml")[1]]


@pytest.mark.parametrize("text", ["on", "no", "yes", "off", "y", "1:30", "017", "0b1", "2026-01-01", "1_000", "+", ".",
                                  "0o8", "0xg", "1.2.3", "=", "inf", "nan", "1e", "--1", "00"])  # fmt: skip
def test_what_only_looks_like_something_else_is_text(text: str) -> None:
    assert plain(read(f"a: {text}")) == {"a": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e3", 1000.0), ("0o17", 15), ("0x1F", 31), ("-7", -7), ("+7", 7), ("0", 0), ("1.5", 1.5), (".5", 0.5),
     ("1.", 1.0), ("-1.5E-2", -0.015), ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
     ("'1'", "1"), ('"true"', "true"), ("12345678901234567890", 12345678901234567890)],
)  # fmt: skip
def test_plain_scalars_follow_the_core_schema(text: str, value: object) -> None:
    found = plain(read(f"a: {text}"))
    assert found == {"a": value}
    assert type(found["a"]) is type(value)


def test_keys_and_values_know_their_place() -> None:
    tree = read("a: 1\nb:\n  c: [x, 'y']\n")
    assert find(tree, ("b", "c")).key == Mark("f.yaml", 3, 3)
    assert find(tree, ("b", "c", 1)).value.mark == Mark("f.yaml", 3, 10)


def test_columns_count_characters_and_not_bytes() -> None:
    assert find(read("a: { é: 1, b: 2 }"), ("a", "b")).key == Mark("f.yaml", 1, 12)


def test_a_byte_order_mark_and_windows_lines_are_read() -> None:
    tree, problems = parse(b"\xef\xbb\xbfa: 1\r\nb: two\r\n", "f.yaml")
    assert not problems
    assert isinstance(tree, Table)
    assert plain(tree) == {"a": 1, "b": "two"}
    assert tree.entries["b"].mark == Mark("f.yaml", 2, 1)


def test_an_alias_stands_for_its_anchor() -> None:
    assert plain(read("a: &x { b: 1 }\nc: *x")) == {"a": {"b": 1}, "c": {"b": 1}}


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", [("1:1", "empty")]),
        (b"# nothing\n", [("1:1", "empty")]),
        (b"a: 1\x00", [("1:5", "encoding")]),
        (b"a: \xff", [("1:4", "encoding")]),
        ("a: é\xff".encode("latin-1"), [("1:4", "encoding")]),
        (b"\xff\xfea\x00", [("1:1", "encoding")]),
        (b"a:\n\tb: 1", [("2:1", "syntax")]),
        (b"a: 1\n\tb: 2", [("2:1", "syntax")]),
        (b"a: 1\n--- \nb: 2", [("2:1", "syntax")]),
        (b"a: &x [*x]", [("1:8", "anchor")]),
        (b"a: {in: ${x}}", [("1:9", "unquoted")]),
        (b"a: !has(x)", [("1:4", "unquoted")]),
        (b"a: !!int 1\nb: !x 2", [("1:4", "tag"), ("2:4", "unquoted")]),
        (b"a: 1\na: 2\nb: 1\nb: 2", [("2:1", "duplicate-key"), ("4:1", "duplicate-key")]),
        (b"a: " + b"9" * 400, [("1:4", "bad-number")]),
        (b"a: " + b"[" * 70 + b"]" * 70, [("1:67", "too-large")]),
        (b"#" * (MAX_FILE_BYTES + 1), [("1:1", "too-large")]),
    ],
)  # fmt: skip
def test_what_is_no_document_for_us_is_refused_at_its_place(data: bytes, found: list[tuple[str, str]]) -> None:
    assert codes(data) == found


def test_a_bomb_of_aliases_is_refused_before_it_goes_off() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert codes("\n".join(lines).encode())[0][1] == "too-large"
