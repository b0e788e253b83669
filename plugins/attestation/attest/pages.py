"""The tables of docs/attestation.md, made from the tables of the code; a test holds the page to them."""

from __future__ import annotations

from attest.codes import GROUPS

__all__ = ["codes_table", "with_codes"]

_BEGIN, _END = "<!-- codes -->\n", "<!-- end -->"


def codes_table() -> str:
    """Render every code, in its group."""
    parts = []
    for title, group in GROUPS.items():
        rows = "".join(f"| `{code}` | {effect.value} | {sentence} |\n" for code, (effect, sentence) in group.items())
        parts.append(f"### {title}\n\n| code | verdict | |\n|---|---|---|\n{rows}")
    return "\n".join(parts)


def with_codes(page: str) -> str:
    """Return the page with its table of codes made anew."""
    head, _, rest = page.partition(_BEGIN)
    return f"{head}{_BEGIN}{codes_table()}{_END}{rest.partition(_END)[2]}"
