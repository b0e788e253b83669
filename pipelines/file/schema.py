"""The JSON Schema of a pipeline file, for editors; made from the same tables that reading uses.

The schema knows shapes, not meanings: `penstock lint` finds what no editor can.
`python -m pipelines.file.schema` prints the file that is shipped; a test keeps the two equal.
"""

from __future__ import annotations

import json

from pipelines.file.reading import Schema
from pipelines.file.section import Record
from pipelines.file.spec import FileSpec

__all__ = ["document", "text"]


def document() -> Schema:
    """The schema as JSON has it (draft 2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Penstock pipeline file, version 1",
        **Record(FileSpec).schema(),
    }


def text() -> str:
    """The schema as the shipped file has it."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(text(), end="")
