"""Filling of the table of people: when each list is read, what is cached, and what is looked up again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from tests.people.common import ANN, BEN, CEM, CLUB, CONTACTS, GROUPS, HIDDEN, LIDS, Canned, Clock, person, table_of
from waha_mcp.people.filling import FEW, GAP_LIFE, LIFE, MISS_LIFE, OLDEST, FilledTable
from waha_mcp.people.parts import NAMES
from waha_mcp.waha.errors import BadAnswer, Forbidden, Unauthorized, Unreachable, Unsupported

pytestmark = pytest.mark.anyio

CONTACT = "GET /api/contacts"
LID, PN = "GET /api/{session}/lids/{lid}", "GET /api/{session}/lids/pn/{phoneNumber}"


def named(table: FilledTable, chat: str = ANN) -> str | None:
    entry = table.table.get(chat)
    return entry.shown if entry is not None else None


# Only what is asked for, and once


async def test_only_the_lists_that_are_asked_for_are_read_and_none_twice() -> None:
    waha = Canned(contacts=[person(ANN, "Ann")])
    people = table_of(waha)
    await people.load("contacts")
    assert dict(waha.asked) == {CONTACTS: 1}
    assert named(people) == "Ann"
    await people.load()
    assert waha.asked[CONTACTS] == waha.asked[GROUPS] == waha.asked[LIDS] == 1


async def test_a_table_whose_lists_are_as_they_were_is_not_made_anew(clock: Clock) -> None:
    people = table_of(Canned())
    await people.load()
    before = people.table
    await people.load()
    assert people.table is before
    clock.now += LIFE + 1
    await people.load("chats")
    assert people.table is not before


@pytest.mark.parametrize("error", [Unauthorized(), Forbidden("403"), Unreachable("down")], ids=repr)
async def test_all_who_wait_for_one_reading_get_its_failure(error: Exception) -> None:
    waha = Canned(contacts=error)
    waha.let = anyio.Event()
    people = table_of(waha)
    failures = 0

    async def ask() -> None:
        nonlocal failures
        with pytest.raises(type(error)):
            await people.load("contacts")
        failures += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        waha.let.set()
    assert (failures, waha.asked[CONTACTS]) == (3, 1)
    # A later caller reads again.
    waha.answers[CONTACTS] = [person(ANN, "Ann")]
    await people.load("contacts")
    assert named(people) == "Ann"


async def test_who_waits_for_a_reading_that_brings_something_gets_no_earlier_failure() -> None:
    waha = Canned(contacts=Unreachable("down"))
    people = table_of(waha)
    with pytest.raises(Unreachable):
        await people.load("contacts")
    waha.answers[CONTACTS] = [person(ANN, "Ann")]
    waha.let = anyio.Event()
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(people.load, "contacts")
        await anyio.wait_all_tasks_blocked()
        waha.let.set()
    assert (named(people), waha.asked[CONTACTS]) == ("Ann", 2)


async def test_lists_that_fail_are_an_error_only_where_all_are_asked_for() -> None:
    people = table_of(Canned(contacts=BadAnswer("500"), groups=BadAnswer("500"), chats=BadAnswer("500")))
    await people.load("contacts", "groups", "chats")
    assert all(people.part(source).broken for source in NAMES)
    with pytest.raises(BadAnswer):
        await people.load()


async def test_who_waits_for_somebody_that_is_cancelled_reads_on_where_they_ended() -> None:
    rows = [person(f"1202555{number:04}@c.us", f"Number {number}") for number in range(300)]
    waha = Canned()
    waha.pages[CONTACTS] = [rows[:200], rows[199:]]
    people, second = table_of(waha), anyio.Event()
    offsets: list[int] = []
    call = waha.call

    async def slow(operation: str, **asked: Any) -> Any:
        offsets.append(asked["query"]["offset"])
        if len(offsets) == 2:
            second.set()
            await anyio.sleep_forever()
        return await call(operation, **asked)

    waha.call = slow  # type: ignore[method-assign]
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            first = anyio.CancelScope()

            async def ask() -> None:
                with first:
                    await people.load("contacts")

            tasks.start_soon(ask)
            await second.wait()
            tasks.start_soon(people.load, "contacts")
            await anyio.wait_all_tasks_blocked()
            first.cancel()
    assert offsets[:3] == [0, 200, 199]
    assert len(people.table.entries) == 300


# Changes


async def test_a_change_while_it_is_read_makes_what_is_read_old() -> None:
    waha = Canned(contacts=[person(ANN, "Ann")])
    waha.let = anyio.Event()
    people = table_of(waha)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(people.load, "contacts")
        await anyio.wait_all_tasks_blocked()
        people.expire()
        waha.let.set()
    # A caller from before the change gets the state of that time.
    assert named(people) == "Ann"
    waha.answers[CONTACTS] = [person(ANN, "Anna")]
    await people.load("contacts")
    assert named(people) == "Anna"
    assert waha.asked[CONTACTS] == 2
    await people.load("contacts")
    assert waha.asked[CONTACTS] == 2


async def test_who_asks_after_a_change_does_not_take_the_reading_that_began_before_it() -> None:
    waha = Canned(contacts=[person(ANN, "Ann")])
    waha.let = anyio.Event()
    people = table_of(waha)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(people.load, "contacts")
            await anyio.wait_all_tasks_blocked()
            people.expire()
            tasks.start_soon(people.load, "contacts")
            await anyio.wait_all_tasks_blocked()
            waha.let.set()
    assert waha.asked[CONTACTS] == 2


async def test_what_was_read_before_a_change_is_not_read_on() -> None:
    rows = [person(f"1202555{number:04}@c.us", "Old") for number in range(200)]
    waha = Canned()
    waha.pages[CONTACTS] = [rows, BadAnswer("Broken.")]
    people = table_of(waha)
    await people.load("contacts")
    assert people.part("contacts").broken
    people.expire()
    # Otherwise it would continue from there.
    waha.answers[CONTACTS] = lambda asked: rows[199:] if asked["offset"] else [person(ANN, "Ann")]
    await people.load("contacts")
    assert [entry.shown for entry in people.table.entries.values()] == ["Ann"]


@pytest.mark.parametrize(("wait", "first"), [(GAP_LIFE + 1, 199), (LIFE + 1, 0)])
async def test_what_failed_half_way_is_read_on_unless_its_beginning_is_too_old(
    wait: float, first: int, clock: Clock
) -> None:
    rows = [person(f"1202555{number:04}@c.us", f"Number {number}") for number in range(210)]
    offsets: list[int] = []
    failing = True

    def serve(asked: dict[str, Any]) -> Any:
        offsets.append(asked["offset"])
        if failing and asked["offset"]:
            raise BadAnswer("Broken.")
        return rows[asked["offset"] : asked["offset"] + 200]

    people = table_of(Canned(contacts=serve))
    await people.load("contacts")
    assert len(people.table.entries) == 200
    failing = False
    clock.now += wait
    offsets.clear()
    await people.load("contacts")
    assert offsets[0] == first
    assert len(people.table.entries) == 210
    assert people.table.gaps == {}


async def test_what_goes_on_failing_is_tried_no_more_often_than_before(clock: Clock) -> None:
    rows = [person(f"1202555{number:04}@c.us", f"Number {number}") for number in range(200)]
    waha = Canned(contacts=lambda asked: _failing(rows, asked))
    people = table_of(waha)
    await people.load("contacts")
    for _ in range(3):
        clock.now += GAP_LIFE + 1
        asked = waha.asked[CONTACTS]
        for _ in range(3):
            await people.load("contacts")
        assert waha.asked[CONTACTS] == asked + 1
    assert len(people.table.entries) == 200


def _failing(rows: list[Any], asked: dict[str, Any]) -> Any:
    if asked["offset"]:
        raise BadAnswer("Broken.")
    return rows


# An old table while a new one is read


class Behind:
    """Holds the background work that the directory starts."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], Awaitable[None]]] = []

    def __call__(self, function: Callable[[], Awaitable[None]]) -> None:
        self.waiting.append(function)

    async def run(self) -> None:
        await self.waiting.pop()()


async def behind(waha: Canned) -> tuple[FilledTable, Behind]:
    """A full table and the background work."""
    people, beside = table_of(waha), Behind()
    people.start = beside
    await people.load(behind=True)
    return people, beside


async def test_a_reader_gets_an_old_table_while_it_is_read_anew_beside_them(clock: Clock) -> None:
    waha = Canned(contacts=[person(ANN, "Ann")])
    people, beside = await behind(waha)
    await people.load(behind=True)
    assert not beside.waiting
    waha.answers[CONTACTS] = [person(ANN, "Anna")]
    clock.now += LIFE + 1
    for _ in range(2):
        await people.load(behind=True)
        assert named(people) == "Ann"
    assert waha.asked[CONTACTS] == 1
    await beside.run()
    assert not beside.waiting  # one reading served both
    assert named(people) == "Anna"
    clock.now += LIFE + 1
    await people.load(behind=True)
    assert len(beside.waiting) == 1


@pytest.mark.parametrize("case", ["too old", "changed", "broken", "not asked for behind"])
async def test_what_is_too_old_changed_or_broken_is_waited_for(case: str, clock: Clock) -> None:
    waha = Canned(contacts=[person(ANN, "Ann")])
    if case == "broken":
        waha.answers[GROUPS] = BadAnswer("Broken.")
    people, beside = await behind(waha)
    waha.answers[CONTACTS] = [person(ANN, "Anna")]
    clock.now += LIFE + 1
    if case == "too old":
        clock.now += OLDEST
    elif case == "changed":
        people.expire()
    await people.load(behind=case != "not asked for behind")
    assert named(people) == "Anna"
    assert not beside.waiting


async def test_a_group_that_changes_all_the_time_keeps_no_reader_waiting_and_is_read_anew(clock: Clock) -> None:
    waha = Canned(groups=[{"id": CLUB, "subject": "Chess"}])
    people, beside = await behind(waha)
    waha.answers[GROUPS] = [{"id": CLUB, "subject": "Go"}]
    for _ in range(20):
        clock.now += GAP_LIFE / 20
        people.changed(CLUB)
        await people.load(behind=True)
    assert named(people, CLUB) == "Chess"
    assert waha.asked[GROUPS] == 1
    clock.now += GAP_LIFE / 20 + 1
    await people.load(behind=True)
    assert named(people, CLUB) == "Chess"
    await beside.waiting.pop()()
    assert named(people, CLUB) == "Go"
    assert waha.asked[CONTACTS] == 1


async def test_a_list_that_the_engine_does_not_have_keeps_no_reader_waiting(clock: Clock) -> None:
    people, beside = await behind(Canned(groups=Unsupported("501")))
    clock.now += LIFE + 1
    await people.load(behind=True)
    assert len(beside.waiting) == 1


@pytest.mark.parametrize("error", [Unreachable("down"), RuntimeError("a fault of ours")], ids=repr)
async def test_a_reading_beside_that_fails_stops_nobody_and_the_next_one_is_begun(
    error: Exception, clock: Clock
) -> None:
    waha = Canned(contacts=[person(ANN, "Ann")])
    people, beside = await behind(waha)
    clock.now += LIFE + 1
    waha.answers[CONTACTS] = error
    await people.load(behind=True)
    await beside.run()
    assert named(people) == "Ann"
    await people.load(behind=True)
    assert len(beside.waiting) == 1


# One row again


async def saved_as_ann(waha: Canned, clock: Clock, seconds: float) -> FilledTable:
    """A table in which Ann is saved, this many seconds later."""
    waha.answers.setdefault(CONTACTS, [person(ANN, "Ann")])
    people = table_of(waha)
    await people.load("contacts")
    clock.now += seconds
    return people


@pytest.mark.parametrize(("seconds", "times"), [(MISS_LIFE, 0), (MISS_LIFE + 0.1, 1)])
async def test_who_has_a_saved_name_is_looked_up_again_after_a_few_seconds(
    seconds: float, times: int, clock: Clock
) -> None:
    waha = Canned()
    waha.answers[CONTACT] = person(ANN, "Ann")
    people = await saved_as_ann(waha, clock, seconds)
    for _ in range(2):
        assert await people.saved_name_now(ANN) == "Ann"
    assert waha.asked[CONTACT] == times
    clock.now += MISS_LIFE + 0.1
    assert await people.saved_name_now(ANN) == "Ann"
    assert waha.asked[CONTACT] == times + 1
    people.expire()
    assert await people.saved_name_now(ANN) == "Ann"
    assert waha.asked[CONTACT] == times + 2


@pytest.mark.parametrize(
    ("row", "same"),
    [
        (person(ANN, "Ann"), True),
        (person(ANN, "ANN ❤️"), False),
        ({"name": "Ann"}, True),
        (person(ANN, "Anna"), False),
        (person(ANN, "Ann", isMyContact=False), False),
        (person(ANN, pushname="Ann"), False),
        (person(BEN, "Ann"), False),
        (person("junk", "Ann"), False),
        (person(ANN, "Ann", isMe=True), False),
        (None, False),
        ([], False),
        (BadAnswer("500"), False),
        (Unsupported("501"), False),
    ],
    ids=str,
)
async def test_a_row_says_whether_a_person_is_still_saved_so(row: Any, same: bool, clock: Clock) -> None:
    waha = Canned()
    waha.answers[CONTACT] = row
    people = await saved_as_ann(waha, clock, MISS_LIFE + 1)
    assert (await people.saved_name_now(ANN) == "Ann") is same


async def test_a_change_while_the_row_is_looked_up_leaves_it_uncertain(clock: Clock) -> None:
    waha = Canned()
    people = await saved_as_ann(waha, clock, MISS_LIFE + 1)

    def changing(asked: dict[str, Any]) -> Any:
        people.expire()
        return person(ANN, "Ann")

    waha.answers[CONTACT] = changing
    assert await people.saved_name_now(ANN) is None


async def test_a_waha_that_lets_nobody_in_is_an_error_of_the_look_up(clock: Clock) -> None:
    waha = Canned()
    waha.answers[CONTACT] = Unauthorized()
    people = await saved_as_ann(waha, clock, MISS_LIFE + 1)
    with pytest.raises(Unauthorized):
        await people.saved_name_now(ANN)
    with pytest.raises(Unauthorized):
        await people.look_up([BEN])


async def test_a_person_who_cannot_be_looked_up_keeps_no_others_from_it(clock: Clock) -> None:
    waha = Canned()
    waha.answers[CONTACT] = lambda query: BadAnswer("no") if query["contactId"] == BEN else person(CEM, "Cem")
    people = table_of(waha)
    assert await people.look_up([BEN, CEM])
    assert people.entry(BEN) is None
    assert (entry := people.entry(CEM)) is not None
    assert entry.name == "Cem"
    assert await people.look_up([CEM]) is None


@pytest.mark.parametrize("listed", [ANN, HIDDEN])
@pytest.mark.parametrize(("answered", "same"), [(ANN, True), (HIDDEN, True), (BEN, False)])
async def test_a_person_is_looked_up_under_the_id_that_the_contacts_have(
    listed: str, answered: str, same: bool, clock: Clock
) -> None:
    asked: list[str] = []

    def row(query: dict[str, Any]) -> Any:
        asked.append(query["contactId"])
        return person(answered, "Ann")

    waha = Canned(contacts=[person(listed, "Ann")], hidden_ids=[{"lid": HIDDEN, "pn": ANN}])
    waha.answers[CONTACT] = row
    people = table_of(waha)
    await people.load()
    clock.now += MISS_LIFE + 1
    assert (await people.saved_name_now(ANN) == "Ann") is same
    assert asked == [listed]


async def test_what_was_looked_up_counts_until_it_is_looked_up_again(clock: Clock) -> None:
    waha = Canned()
    people = await saved_as_ann(waha, clock, MISS_LIFE + 1)
    waha.answers[CONTACT] = person(ANN, "Anna")
    for _ in range(2):
        assert await people.saved_name_now(ANN) == "Anna"
    assert waha.asked[CONTACT] == 1


async def test_who_has_only_a_chat_is_looked_up_under_its_id_and_has_no_saved_name(clock: Clock) -> None:
    waha = Canned(chats=[{"id": ANN, "name": "Ann"}])
    waha.answers[CONTACT] = person(ANN, pushname="Ann")
    people = table_of(waha)
    await people.load()
    assert named(people) == "Ann"
    assert people.saved_name(ANN) == ""
    clock.now += MISS_LIFE + 1
    assert await people.saved_name_now(ANN) == ""
    assert waha.asked[CONTACT] == 1


async def test_the_name_of_a_contact_that_is_marked_as_not_saved_is_no_saved_name() -> None:
    people = table_of(Canned(contacts=[person(ANN, "Ann", isMyContact=False), person(BEN, "Ben", isMyContact=True)]))
    await people.load()
    assert [people.saved_name(each) for each in (ANN, BEN, CEM)] == ["", "Ben", ""]


async def test_a_group_is_looked_up_among_the_groups() -> None:
    waha = Canned()
    waha.answers["GET /api/{session}/groups/{id}"] = {"subject": "Book club"}
    assert await table_of(waha).row(CLUB) == {"subject": "Book club"}
    assert waha.asked[CONTACT] == 0


@pytest.mark.parametrize(
    ("row", "saved"),
    [({"name": "Ann"}, False), ({"name": "Ann", "pushname": ""}, True), ({"name": "Ann", "isMyContact": True}, True)],
    ids=str,
)
async def test_without_any_contacts_a_row_itself_tells_whether_its_name_is_saved(row: Any, saved: bool) -> None:
    people = table_of(Canned())
    await people.load()
    assert people.is_saved(row) is saved


# Second ids


def pairs(count: int) -> list[dict[str, str]]:
    return [{"lid": f"99{number:04}@lid", "pn": f"1202555{number:04}@c.us"} for number in range(count)]


@pytest.mark.parametrize("count", [FEW, FEW + 1])
async def test_few_second_ids_are_looked_up_and_many_are_read_from_the_list(count: int) -> None:
    rows = pairs(count)
    waha = Canned(hidden_ids=rows)
    waha.answers[PN] = lambda asked: next(row for row in rows if row["pn"].startswith(asked["phoneNumber"]))
    people = table_of(waha)
    await people.match(row["pn"] for row in rows)
    assert [people.twin(row["pn"]) for row in rows] == [row["lid"] for row in rows]
    assert [people.twin(row["lid"]) for row in rows] == [row["pn"] for row in rows]
    assert dict(waha.asked) == ({PN: FEW} if count == FEW else {LIDS: 1})


async def test_of_many_who_are_not_in_a_whole_list_none_is_looked_up() -> None:
    waha = Canned(hidden_ids=pairs(1))
    await table_of(waha).match(row["pn"] for row in pairs(100))
    assert dict(waha.asked) == {LIDS: 1}


async def test_where_the_list_is_not_whole_those_that_are_missing_are_looked_up() -> None:
    waha = Canned(hidden_ids=Unsupported("501"))
    waha.answers[PN] = lambda asked: {"lid": f"{asked['phoneNumber']}@lid", "pn": f"{asked['phoneNumber']}@c.us"}
    people = table_of(waha)
    await people.match(row["pn"] for row in pairs(9))
    assert waha.asked[PN] == 9
    assert people.twin("12025550003@c.us") == "12025550003@lid"


async def test_where_waha_lets_nobody_in_nothing_is_matched_and_nobody_else_asked_for() -> None:
    waha = Canned(hidden_ids=Unreachable("down"))
    people = table_of(waha)
    await people.match(row["pn"] for row in pairs(9))
    assert dict(waha.asked) == {LIDS: 1}
    assert people.twin(pairs(1)[0]["pn"]) is None


async def test_a_second_id_that_was_looked_up_joins_a_persons_rows_in_the_next_table() -> None:
    waha = Canned(contacts=[person(ANN, pushname="annie"), person(HIDDEN, "Ann")])
    waha.answers[LID] = {"lid": HIDDEN, "pn": ANN}
    people = table_of(waha)
    await people.learn(HIDDEN)
    await people.load()
    [entry] = people.table.entries.values()
    assert (entry.id, entry.lid, entry.name, entry.push_name) == (ANN, HIDDEN, "Ann", "annie")


@pytest.mark.parametrize("row", [None, [], {}, {"lid": HIDDEN, "pn": None}, {"lid": ANN, "pn": BEN}], ids=str)
async def test_an_answer_that_holds_no_pair_matches_nothing(row: Any) -> None:
    waha = Canned()
    waha.answers[LID] = waha.answers[PN] = row
    people = table_of(waha)
    for _ in range(2):
        assert await people.learn(HIDDEN) is None
        assert await people.learn(ANN) is None
    # It is asked for again each time: there may be one by then.
    assert waha.asked[LID] == waha.asked[PN] == 2


async def test_who_has_no_second_id_is_looked_up_again_no_sooner_than_is_asked_for(clock: Clock) -> None:
    waha = Canned()
    waha.answers[LID] = {"lid": HIDDEN, "pn": None}
    people = table_of(waha)
    assert await people.learn(HIDDEN, 10.0) is None
    waha.answers[LID] = {"lid": HIDDEN, "pn": ANN}
    assert await people.learn(HIDDEN, 10.0) is None
    clock.now += 11.0
    assert await people.learn(HIDDEN, 10.0) == ANN
    assert waha.asked[LID] == 2


async def test_a_look_up_that_failed_is_tried_again_at_once(clock: Clock) -> None:
    waha = Canned()
    waha.answers[LID] = Unreachable("down")
    people = table_of(waha)
    assert await people.learn(HIDDEN, 10.0) is None
    waha.answers[LID] = {"lid": HIDDEN, "pn": ANN}
    assert await people.learn(HIDDEN, 10.0) == ANN


async def test_what_waha_has_corrected_is_matched_with_nothing_it_was_before() -> None:
    waha = Canned(hidden_ids=[{"lid": HIDDEN, "pn": ANN}])
    people = table_of(waha)
    await people.load()
    waha.answers[LIDS] = [{"lid": HIDDEN, "pn": BEN}]
    people.expire()
    await people.load()
    assert [people.twin(each) for each in (HIDDEN, ANN, BEN)] == [BEN, None, HIDDEN]
    assert people.canonical(HIDDEN) == BEN
    waha.answers[LIDS] = [{"lid": "990002@lid", "pn": BEN}]
    people.expire()
    await people.load()
    assert [people.twin(each) for each in (HIDDEN, "990002@lid", BEN)] == [None, BEN, "990002@lid"]


async def test_what_was_once_matched_stays_so_where_the_list_cannot_be_read_any_more() -> None:
    waha = Canned(hidden_ids=[{"lid": HIDDEN, "pn": ANN}], contacts=[person(HIDDEN, "Ann"), person(CEM, "Cem")])
    people = table_of(waha)
    await people.load()
    waha.answers[LIDS] = BadAnswer("500")
    people.expire()
    await people.load()
    assert people.twin(ANN) == HIDDEN
    assert set(people.table.entries) == {ANN, CEM}
