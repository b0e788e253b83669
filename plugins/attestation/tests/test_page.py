"""docs/attestation.md says what the tables of the code say; the page is there only in the repository."""

from __future__ import annotations

import re
from pathlib import Path

from attest.codes import CODES
from attest.pages import codes_table, with_codes
from attest.policy import SvidIdentity, read_policy

PAGE = Path(__file__).parents[3] / "docs" / "attestation.md"
README = Path(__file__).parents[1] / "README.md"


def test_the_page_is_up_to_date() -> None:
    """From a checkout; a plugin that was copied out of it has no page."""
    page = PAGE.read_text() if PAGE.exists() else with_codes("<!-- codes -->\n<!-- end -->")
    assert with_codes(page) == page


def test_the_table_has_every_code_once() -> None:
    found = re.findall(r"^\| `([A-Z0-9-]+)` \|", codes_table(), re.MULTILINE)
    assert sorted(found) == sorted(CODES)


def test_the_policies_that_are_shown_are_policies_and_allow_nobody_by_a_wildcard() -> None:
    texts = [path.read_text() for path in (PAGE, README) if path.exists()]
    shown = [
        block for text in texts for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "servers:" in block
    ]
    assert shown
    for block in shown:
        for rule in read_policy(block.encode()).rules:
            evidence = rule.evidence.allowed if rule.evidence else ()
            allowed = rule.identity.allowed if isinstance(rule.identity, SvidIdentity) else (rule.match,)
            assert not any("*" in one for one in (*allowed, *evidence)), rule.name
