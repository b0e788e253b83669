"""The stages as a pipeline calls them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from masking import Masking, SettingError
from penstock_plugin import testing
from pii_filter import plugin
from stdnum import luhn
from texts import FIELDS

FOLDER = Path(__file__).parent.parent
CARD = "4111 1111 1111 1111"


def masked(args: object, **config: object) -> object:
    return testing.call(plugin, "mask", payload={"name": "t", "args": {"x": args}}, config=config).payload["args"]["x"]


def test_nothing_found_changes_nothing_and_counts_nought() -> None:
    outcome = testing.call(plugin, "mask", payload={"name": "t", "args": {"q": "hello", "n": 3}})
    assert not outcome.changed
    assert set(outcome.out.values()) == {0}


def test_finds_are_masked_and_counted_in_nested_values() -> None:
    outcome = testing.call(
        plugin,
        "mask",
        payload={"name": "t", "args": {"a": [{"note": f"card {CARD}"}], "b": "bob@example.com or eve@example.com"}},
    )
    assert outcome.payload["args"] == {"a": [{"note": "card [card]"}], "b": "[email] or [email]"}
    assert outcome.out == {"found": 3, "card": 1, "email": 2, "iban": 0, "national_id": 0, "ip": 0, "phone": 0}


def test_a_result_is_masked_in_its_text_and_its_structure() -> None:
    picture = {"type": "image", "mimeType": "image/png", "data": "4111111111111111" * 8}
    result = {
        "content": [{"type": "text", "text": f"paid with {CARD}", "annotations": None}, picture],
        "structuredContent": {"card": CARD, "nothing": None},
        "isError": False,
    }
    outcome = testing.call(plugin, "mask", hook="tool_post_invoke", payload={"name": "t", "result": result})
    assert outcome.payload["result"]["content"] == [
        {"type": "text", "text": "paid with [card]", "annotations": None},
        picture,
    ]
    assert outcome.payload["result"]["structuredContent"] == {"card": "[card]", "nothing": None}


def test_the_messages_of_a_prompt_are_masked() -> None:
    result = {"messages": [{"role": "user", "content": {"type": "text", "text": "I am bob@example.com"}}]}
    outcome = testing.call(plugin, "mask", hook="prompt_post_fetch", payload={"prompt_id": "p", "result": result})
    assert outcome.payload["result"]["messages"][0]["content"]["text"] == "I am [email]"


def test_finding_counts_and_leaves_the_payload_alone() -> None:
    outcome = testing.call(plugin, "find", payload={"name": "t", "args": {"q": CARD}})
    assert outcome.out["card"] == 1
    assert not outcome.changed


def test_a_card_sent_as_a_number_is_masked_and_other_numbers_are_not() -> None:
    assert masked([4111111111111111, 4111111111111112, 1763900000123, True]) == [
        "[card]",
        4111111111111112,
        1763900000123,
        True,
    ]
    assert masked(4111111111111111, numbers=False) == 4111111111111111


def test_each_kind_has_its_own_action() -> None:
    text = "bob@example.com paid with 4111111111111111 from 203.0.113.7"
    new = masked(text, actions={"card": "remove", "email": "hash"}, salt="pepper", mask="<{kind}>")
    assert re.fullmatch(r"\[email:[a-p]{16}\] paid with  from <ip>", new)


def test_a_hash_is_one_for_every_spelling_and_needs_the_salt() -> None:
    def hashed(text: str, salt: str = "pepper") -> object:
        return masked(text, action="hash", salt=salt)

    assert hashed(CARD) == hashed(CARD.replace(" ", "-")) != hashed(CARD, "other")
    assert hashed("Bob@Example.com") == hashed("bob@example.COM")
    assert hashed("+1 212 555 0123") == hashed("(212) 555-0123")
    with pytest.raises(SettingError, match=r"^salt: "):
        masked(CARD, action="hash")


def test_only_what_is_asked_for_is_looked_for() -> None:
    assert masked(f"{CARD} bob@example.com", detect=["email"]) == f"{CARD} [email]"


def test_kept_values_stay() -> None:
    assert masked("help@example.com, bob@example.com", keep=["Help@example.com"]) == "help@example.com, [email]"
    assert masked("4111-1111-1111-1111", keep=["4111111111111111"]) == "4111-1111-1111-1111"


def test_fields_and_skip_limit_the_search() -> None:
    assert masked({"a": CARD, "b": CARD}, fields=["args.x.a"]) == {"a": "[card]", "b": CARD}
    assert masked({"a": CARD, "b": CARD}, skip=["args.*.a"]) == {"a": CARD, "b": "[card]"}


def test_member_names_are_masked_only_when_asked_for() -> None:
    assert masked({"bob@example.com": 1}) == {"bob@example.com": 1}
    assert masked({"bob@example.com": 1, "eve@example.com": 2, "n": None}, keys=True) == {
        "[email]": 1,
        "[email] 2": 2,
        "n": None,
    }


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"detect": ["emial"]}, r"detect\[0\]"),
        ({"national_ids": ["us_sin"]}, "national_ids"),
        ({"phone_regions": ["XX"]}, r"phone_regions\[0\]"),
        ({"mask": "x@example.com"}, "mask"),
        ({"fields": ["arg"]}, r"fields\[0\]"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        masked("", **config)


def test_the_manifest_declares_what_the_walk_looks_at() -> None:
    stages = tomllib.loads((FOLDER / "pyproject.toml").read_text())["tool"]["penstock"]["stages"]
    for name, writes in (("mask", True), ("find", False)):
        for hook, use in stages[name]["hooks"].items():
            assert use["reads"] == [f"payload.{field}" for field in FIELDS[hook]]
            assert use["writes"] == (use["reads"] if writes else [])
        assert stages[name]["hooks"].keys() == FIELDS.keys()


def card_numbers() -> st.SearchStrategy[str]:
    bodies = st.from_regex(r"(?:4[0-9]{14}|5[1-5][0-9]{13}|3[47][0-9]{12})", fullmatch=True)
    return bodies.map(lambda body: body + luhn.calc_check_digit(body))


GROUPED = card_numbers().flatmap(
    lambda card: st.sampled_from(
        [card, " ".join(card), "-".join(re.findall(".{1,4}", card)) if len(card) == 16 else card]
    )
)
WORDS = st.lists(st.text(alphabet="ab 1.,-:@\n", max_size=6), max_size=6).map(" x ".join)
MASKING = Masking.of({})


@given(WORDS, GROUPED, WORDS)
def test_no_card_is_left_after_masking(before: str, card: str, after: str) -> None:
    text = f"{before} is {card} is {after}"
    new = MASKING.rewritten(text, MASKING.finds(text, ""))
    digits = "".join(re.findall(r"\d", card))
    assert card not in new
    assert digits not in re.sub(r"[ -]", "", new)


SNIPPETS = st.sampled_from(
    ["4111 1111 1111 1111", "bob@example.com", "DE89 3704 0044 0532 0130 00", "+1 212 555 0123", "203.0.113.7",
     "536-90-4399", "2125550123", "1", "12", "4111", "-", ".", " ", ",", "@", "x", ":", "/"]
)  # fmt: skip


@given(st.lists(SNIPPETS, max_size=12).map("".join))
def test_masking_twice_is_masking_once(text: str) -> None:
    """Without words that say what a number is: a mask shorter than its value may bring one near enough."""
    once = MASKING.rewritten(text, MASKING.finds(text, ""))
    assert MASKING.rewritten(once, MASKING.finds(once, "")) == once
