"""References stand for one thing of one App under one key, for good; no single wrong character makes another one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.memory_store import Memory
from waha_mcp.store import Store, StoreAway
from waha_mcp.store.sqlite import Sqlite
from waha_mcp.tools import references
from waha_mcp.tools.catalog import ArgumentError
from waha_mcp.tools.paging import encode_cursor
from waha_mcp.tools.references import References, forget

pytestmark = pytest.mark.anyio

KEY, OTHER_KEY = SecretStr("key_one_4711_abcdef"), SecretStr("key_two_4711_abcdef")
MESSAGE = "false_12025550123@c.us_3EB0C767D26A1B2E5F4C"


def one(store: Store, app: str = "assistant", key: SecretStr = KEY) -> References:
    return References(app, key, store)


async def short(made: References, text: str = MESSAGE) -> str:
    return (await made.shorten([("m", text)]))["m", text]


class Away(Memory):
    """A store that nobody can read."""

    def claim(self, *_: object) -> dict[str, str]:
        raise StoreAway("The store is away.")

    def get(self, *_: object) -> str | None:
        raise StoreAway("The store is away.")


async def test_a_reference_stands_for_its_message_also_in_another_process(tmp_path: Path) -> None:
    first, second = Sqlite(tmp_path / "store.sqlite"), Sqlite(tmp_path / "store.sqlite")
    reference = await short(one(first))
    assert len(reference) == 10
    assert await one(second).expand("m", f" {reference} ", "message_id") == MESSAGE
    assert await short(one(second)) == reference
    first.close()
    second.close()


async def test_a_full_id_is_taken_as_it_is(tmp_path: Path) -> None:
    assert await one(Memory()).expand("m", MESSAGE, "message_id") == MESSAGE


@given(st.text("0123456789ABCDEF", min_size=16, max_size=32), st.integers(1, 9), st.sampled_from("0123456789mgnpc"))
@settings(max_examples=200)
async def test_no_single_wrong_character_makes_another_reference(bare: str, at: int, wrong: str) -> None:
    made = one(Memory())
    reference = await short(made, f"true_12025550123@c.us_{bare}")
    # No reference has ever been given for it.
    damaged = f"{reference[:at]}{wrong}{reference[at + 1 :]}"
    if damaged != reference:
        assert not damaged[1:].isdecimal() or references._check_digit(damaged[1:-1]) != damaged[-1]


@pytest.mark.parametrize("stranger", [("assistant", OTHER_KEY), ("observer", KEY)], ids=["another key", "another App"])
async def test_a_reference_says_nothing_to_another_app_or_key(stranger: tuple[str, SecretStr]) -> None:
    store = Memory()
    reference = await short(one(store))
    other = one(store, *stranger)
    assert await short(other) != reference
    with pytest.raises(ArgumentError, match=f"message_id: {reference} was not given by any answer"):
        await other.expand("m", reference, "message_id")


@pytest.mark.parametrize(
    ("kinds", "says"), [("m", "stands for a place in a list"), ("gnp", "stands for a place in a list")]
)
async def test_a_reference_of_another_kind_is_named_as_what_it_is(kinds: str, says: str) -> None:
    made = one(Memory())
    [reference] = (await made.shorten([("c", encode_cursor("chats", 20))])).values()
    with pytest.raises(ArgumentError, match=says):
        await made.expand(kinds, reference, "chat")


async def test_two_that_would_get_the_same_digits_get_different_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(References, "_candidate", lambda self, kind, text, turn: f"m{turn}")
    made = one(Memory())
    found = await made.shorten([("m", MESSAGE), ("m", f"{MESSAGE}A"), ("m", f"{MESSAGE}B")])
    assert sorted(found.values()) == ["m0", "m1", "m2"]
    assert found["m", MESSAGE] == "m0"


async def test_while_the_store_is_away_answers_have_long_ids_and_what_was_given_before_still_works() -> None:
    assert await short(one(Away())) == MESSAGE
    made = one(Memory())
    reference = await short(made)
    made._store = Away()
    assert await made.expand("m", reference, "message_id") == MESSAGE
    assert await short(made) == reference
    assert await short(made, f"{MESSAGE}A") == f"{MESSAGE}A"
    with pytest.raises(ArgumentError, match="cannot be looked up, and nothing was done"):
        await one(Away()).expand("m", reference, "message_id")


async def test_what_is_forgotten_is_found_no_more_and_its_digits_stay_taken() -> None:
    store = Memory()
    reference, other = await short(one(store)), await short(one(store), "true_12025550177@c.us_3EB0AA")
    [cursor] = (await one(store).shorten([("c", encode_cursor("messages", ["12025550123@c.us", 5, "", 0]))])).values()
    assert forget(store, "", lambda text: "12025550123" in text) == 2
    for kind, gone in (("m", reference), ("c", cursor)):
        with pytest.raises(ArgumentError, match="was not given"):
            await one(store).expand(kind, gone, "message_id")
    assert await one(store).expand("m", other, "message_id") == "true_12025550177@c.us_3EB0AA"
    assert await short(one(store)) != reference


async def test_the_ids_in_an_error_become_references_and_nothing_else_changes() -> None:
    made = one(Memory())
    text = f"It did go out, message {MESSAGE}: see '{MESSAGE}_491713920011@c.us'. true_love_5"
    reference, other = await short(made), await short(made, f"{MESSAGE}_491713920011@c.us")
    assert await made.in_text(text) == f"It did go out, message {reference}: see '{other}'. true_love_5"
    assert await made.in_text("none") == "none"


async def test_the_oldest_are_dropped_from_memory_and_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "_REMEMBERED", 1)
    made = one(Memory())
    first = await short(made)
    for number in range(3):
        await short(made, f"{MESSAGE}{number}")
    assert await made.expand("m", first, "message_id") == MESSAGE
    assert await short(made) == first


async def test_what_is_only_read_again_does_not_add_up_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Memory()
    given = [await short(one(store), f"{MESSAGE}{number}") for number in range(5)]
    monkeypatch.setattr(references, "_REMEMBERED", 2)
    made = one(store)
    for reference in given:
        await made.expand("m", reference, "message_id")
        assert len(made._known) <= 2
