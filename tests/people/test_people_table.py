"""The table of people: which names count as saved or chosen, and the account's own names."""

from __future__ import annotations

from typing import Any

import pytest

from tests.people.common import ANN, BEN, CLUB, HIDDEN, ME, Canned, Clock, person, table_of
from waha_mcp.people.people_table import NEVER, PeopleTable
from waha_mcp.waha.errors import BadAnswer, Unsupported, WahaError

pytestmark = pytest.mark.anyio


async def table(**answers: Any) -> PeopleTable:
    people = table_of(Canned(**answers))
    await people.load()
    return people.table


PAIR = [{"lid": HIDDEN, "pn": ANN}]
MARKED_ANN = person(ANN, "Ann", isMyContact=True)
ACCOUNT = [{"name": "default", "me": {"id": ME}}]


@pytest.mark.parametrize(
    ("rows", "name", "saved", "push_name"),
    [
        # Both ids' rows of one person, in the order of the contacts.
        ([MARKED_ANN, person(HIDDEN, "Bank", isMyContact=False)], "Ann", True, None),
        ([person(HIDDEN, "Bank", isMyContact=False), MARKED_ANN], "Ann", True, "Bank"),
        ([person(HIDDEN, "Bank", isMyContact=False), {**MARKED_ANN, "pushname": "annie"}], "Ann", True, "annie"),
        ([person(ANN, isMyContact=True), person(HIDDEN, "Bank", isMyContact=False)], "Bank", False, None),
        ([person(ANN, pushname="annie"), person(HIDDEN, "Ann")], "Ann", True, "annie"),
        ([person(ANN, "Ann"), person(HIDDEN, "Anna")], "Ann", True, None),
        ([person(ANN, "Bank", isMyContact=False), person(HIDDEN, "Bench", isMyContact=False)], "Bank", False, None),
    ],
)
async def test_each_name_is_marked_by_the_row_that_has_it(
    rows: Any, name: str, saved: bool, push_name: str | None
) -> None:
    found = await table(contacts=rows, hidden_ids=PAIR)
    [entry] = found.entries.values()
    assert (entry.id, entry.name, entry.saved, entry.push_name) == (ANN, name, saved, push_name)
    assert set(found.saved) == ({name.casefold()} if saved else set())
    assert set(found.by_name) == {each.casefold() for each in (name, push_name) if each}


async def test_a_name_was_learned_when_the_list_was_read_that_has_it(clock: Clock) -> None:
    people = table_of(
        Canned(
            contacts=[person(ANN, "Ann"), person(BEN)],
            groups=[{"id": CLUB, "subject": "Club"}],
            chats=[{"id": BEN, "name": "Ben"}, {"id": ANN, "name": "annie"}],
        )
    )
    await people.load("contacts")
    read = clock.now
    clock.now += 5
    await people.load()
    learned = {entry.id: entry.learned for entry in people.table.entries.values()}
    assert learned == {ANN: read, CLUB: read + 5, BEN: NEVER}


@pytest.mark.parametrize(
    ("row", "saved"),
    [
        (person(ME, "Alex"), True),
        (person(ME, "Alex", isMe=True), True),
        (person(BEN, "Alex", isMe=True), True),
        (person(ME, "Alex", isMyContact=False), False),
        (person(ME, pushname="Alex"), False),
    ],
    ids=str,
)
async def test_the_account_is_no_entry_and_its_saved_name_is_known(row: Any, saved: bool) -> None:
    found = await table(contacts=[row, person(ANN, "Ann")], the_account=ACCOUNT)
    assert set(found.entries) == {ANN}
    assert found.saved.get("alex", frozenset()) == ({row["id"]} if saved else set())
    assert "alex" not in found.by_name


async def test_a_name_that_the_account_shares_is_both_theirs() -> None:
    found = await table(contacts=[person(ME, "Ann"), person(ANN, "Ann")], the_account=ACCOUNT)
    assert found.saved["ann"] == {ANN, ME}
    assert found.by_name["ann"] == {ANN}


async def test_subjects_are_nobodys_saved_names() -> None:
    news = "120363000000000009@newsletter"
    found = await table(
        contacts=[person(ANN, "Club ❤️")], groups=[{"id": CLUB, "subject": "Club"}], chats=[{"id": news, "name": "club"}]
    )
    assert found.saved == {"club": {ANN}}
    assert found.subjects == {"club": {CLUB, news}}


@pytest.mark.parametrize(
    ("failing", "error", "persons", "all_names", "subjects"),
    [
        ("contacts", BadAnswer, True, True, False),
        ("contacts", Unsupported, False, False, False),
        ("groups", BadAnswer, False, True, True),
        ("groups", Unsupported, False, False, False),
        ("chats", BadAnswer, False, False, True),
        ("chats", Unsupported, False, False, False),
        ("hidden_ids", BadAnswer, False, False, False),
    ],
)
async def test_another_may_have_a_name_where_a_list_of_names_has_a_gap(
    failing: str, error: type[WahaError], persons: bool, all_names: bool, subjects: bool
) -> None:
    found = await table(**{failing: error("500")})
    assert found.another_may_have_it("contacts") is persons
    assert found.another_may_have_it() is all_names
    assert found.another_may_have_it("groups", "chats") is subjects


NO_MARK: dict[str, tuple[list[Any], set[str]]] = {
    "one field for both names": ([{"id": ANN, "name": "Ann"}, {"id": BEN, "name": "Ben"}], set()),
    "a field for chosen names, if only an empty one": (
        [{"id": ANN, "name": "Ann"}, {"id": BEN, "name": "Ben", "pushname": ""}],
        {"ann", "ben"},
    ),
    "a mark on some, and none on others": (
        [{"id": ANN, "name": "Ann", "pushname": "a"}, {"id": BEN, "name": "Ben", "pushname": "b", "isMyContact": True}],
        {"ben"},
    ),
    "a mark that is no yes": ([{"id": ANN, "name": "Ann", "isMyContact": "true"}], set()),
}


@pytest.mark.parametrize("case", NO_MARK)
async def test_a_name_is_saved_only_where_the_engine_tells_it_from_a_chosen_one(case: str) -> None:
    rows, saved = NO_MARK[case]
    found = await table(contacts=rows)
    assert set(found.saved) == saved
    assert {entry.name for entry in found.entries.values()} == {row["name"] for row in rows}


async def test_a_saved_name_is_known_as_it_is_spelled_and_without_its_accents() -> None:
    found = await table(contacts=[person(ANN, "Zoë ❤️"), person(BEN, "Zoe")])
    assert found.saved == {"zoë": {ANN}, "zoe": {ANN, BEN}}


@pytest.mark.parametrize(
    ("contacts", "known"),
    [([person(ANN)], True), ([], False), (Unsupported("501"), False), ([person(ANN), "junk"], False)],
)
async def test_contacts_are_known_where_all_were_read_and_there_are_any(contacts: Any, known: bool) -> None:
    assert (await table(contacts=contacts)).contacts_known is known


async def test_a_gap_keeps_nothing_of_what_was_read() -> None:
    found = await table(contacts=[person(ANN, "Ann"), "junk"])
    [gap] = found.gaps.values()
    assert not gap.said
    assert found.not_known("groups") is None
    assert found.not_known("contacts") == ["contacts: 1 left out: not in a form that this version reads"]
