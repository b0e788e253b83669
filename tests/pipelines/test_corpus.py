"""Every wrong file of the corpus is refused with exactly the problems that its first lines announce."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.loading import load
from pipelines.codes import CODES
from pipelines.problem import Problem, Severity, SpecError

CORPUS = Path(__file__).parent.parent / "corpus"
FILES = sorted(path for path in CORPUS.glob("*/*.yaml") if path.parent.name not in ("plugins", "shared"))
EXPECT = re.compile(
    r"# expect (?:(?P<file>\S+):)?(?P<place>\d+:\d+) (?P<code>\S+) (?P<path>.+?)(?: \((?P<near>[^()]+)\))?"
)


def announced(path: Path) -> list[re.Match[str]]:
    """What the comments at the head of a wrong file say about it."""
    lines = path.read_text("utf-8", "replace").splitlines()
    found = [EXPECT.fullmatch(line) for line in lines if line.startswith("# expect ")]
    assert found and all(found), f"{path} does not say what is wrong with it"
    return [match for match in found if match is not None]


def refusals(path: Path) -> list[Problem]:
    """The errors that loading the file gives."""
    with pytest.raises(SpecError) as refused:
        load(path)
    return [problem for problem in refused.value.problems if problem.severity is Severity.ERROR]


def said(problem: Problem, path: Path) -> str:
    """A problem as the corpus writes it, without its sentence and its suggestion."""
    file = Path(problem.mark.file).resolve()
    shown = "" if file == path.resolve() else f"{file.relative_to(path.parent.parent.resolve())}:"
    return f"{shown}{problem.mark.line}:{problem.mark.column} {problem.code} {problem.path or '(file)'}"


def written(match: re.Match[str]) -> str:
    file = "" if match["file"] is None else f"{match['file'].removeprefix('../')}:"
    path = match["path"] if match["near"] != "file" else f"{match['path']} (file)"
    return f"{file}{match['place']} {match['code']} {path}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_wrong_file_is_refused_at_the_exact_place(path: Path) -> None:
    assert sorted(said(problem, path) for problem in refusals(path)) == sorted(written(m) for m in announced(path))


def test_the_right_suggestion_is_made_nine_times_in_ten() -> None:
    """Of the problems with a word near, counted over the whole corpus; the figure is printed."""
    right = wanted = 0
    for path in FILES:
        made = {said(problem, path): problem.suggestion for problem in refusals(path)}
        for match in announced(path):
            if match["near"] not in (None, "file"):
                wanted += 1
                right += made.get(written(match)) == match["near"]
    print(f"\n{len(FILES)} wrong files; suggestions right: {right} of {wanted} ({100 * right / wanted:.1f} %)")
    assert right >= 0.9 * wanted


def test_no_suggestion_is_made_where_nothing_is_near() -> None:
    """A wrong hint is worse than none."""
    wrong = []
    for path in FILES:
        expected = {written(match): match["near"] for match in announced(path)}
        for problem in refusals(path):
            near = expected.get(said(problem, path))
            if problem.suggestion is not None and near in (None, "file"):
                wrong.append(f"{path.relative_to(CORPUS)}: {problem}")
    assert not wrong, "\n".join(wrong)


def test_the_corpus_has_at_least_150_files_and_uses_every_error_code() -> None:
    codes = {match["code"] for path in FILES for match in announced(path)}
    assert len(FILES) >= 150
    errors = {code for code, sentence in CODES.items() if not sentence.endswith("(warning).")}
    # No file can ask for a profile or an override, and manifests with a bad schema are refused before `with` is judged.
    assert codes >= errors - {"unknown-profile", "bad-schema", "ambiguous-stage", "open-admission"}
