"""The recipient of an effect by name, if the name's owner has changed since the table was read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.look_alikes import ALIKE
from tests.people.common import (
    ANN,
    BEN,
    CHATS,
    CLUB,
    CONTACTS,
    GROUPS,
    ME,
    SOURCES,
    Canned,
    Clock,
    directory_of,
    person,
)
from waha_mcp.people.filling import LIFE, MISS_LIFE
from waha_mcp.people.resolving import Unresolved

pytestmark = pytest.mark.anyio

ACCOUNT = [{"name": "default", "me": {"id": ME}}]


async def old(clock: Clock, **answers: Any) -> tuple[Canned, Any]:
    """A directory that was read a little longer ago than an effect takes on trust."""
    waha = Canned(**answers)
    directory = directory_of(waha)
    await directory.load()
    clock.now += MISS_LIFE + 1
    return waha, directory


async def test_a_name_costs_an_effect_one_list_of_contacts_each_few_seconds(clock: Clock) -> None:
    waha, directory = await old(clock, contacts=[person(ANN, "Ann")])
    before = waha.asked.total()
    for _ in range(2):
        assert await directory.resolve("Ann", effect=True) == ANN
        assert waha.asked[CONTACTS] == 2
        assert waha.asked.total() == before + 1
    clock.now += MISS_LIFE + 1
    assert await directory.resolve("Ann") == ANN
    assert waha.asked.total() == before + 1


async def test_a_second_person_saved_under_a_name_makes_it_uncertain_at_once(clock: Clock) -> None:
    waha, directory = await old(clock, contacts=[person(ANN, "Ann"), person(BEN, "Ben")])
    waha.answers[CONTACTS] = [person(ANN, "Ann"), person(BEN, "Ann ❤️")]
    with pytest.raises(Unresolved, match="2 go by the name"):
        await directory.resolve("Ann", effect=True)


@pytest.mark.parametrize("contacts", [[person(ANN, "Ann")], [person(BEN, "Ben")]], ids=["sealed", "no such name"])
async def test_a_sealed_name_causes_the_requests_of_one_that_does_not_exist(contacts: Any, clock: Clock) -> None:
    waha = Canned(contacts=contacts)
    directory = directory_of(waha, readable=lambda chat: chat != ANN)
    await directory.load()
    clock.now += MISS_LIFE + 1
    waha.asked.clear()
    with pytest.raises(Unresolved):
        await directory.resolve("Ann", effect=True)
    assert waha.asked == dict.fromkeys(SOURCES.values(), 1)


@pytest.mark.parametrize("how", ALIKE)
async def test_a_name_that_only_looks_alike_reaches_nobody(how: str) -> None:
    directory = directory_of(Canned(contacts=[person(ANN, "Mum ❤️"), person(BEN, pushname=ALIKE[how])]))
    assert await directory.resolve("mum", effect=True) == ANN
    with pytest.raises(Unresolved):
        await directory.resolve(ALIKE[how], effect=True)


async def test_what_does_not_show_in_a_name_is_shown_in_the_error() -> None:
    with pytest.raises(Unresolved, match=r"exactly the name 'Mu<U\+200B>m'"):
        await directory_of(Canned(contacts=[person(ANN, "Mum")])).resolve("Mu\u200bm", effect=True)


async def test_accents_may_be_left_out_and_only_those_of_the_saved_name_be_written() -> None:
    directory = directory_of(Canned(contacts=[person(ANN, "Zoë 🌸"), person(BEN, "Jose")]))
    for written in ("Zoë", "Zoe\u0308", "ZOE", "zoe 🌸"):
        assert await directory.resolve(written, effect=True) == ANN
    for written in ("Zoé", "José"):
        with pytest.raises(Unresolved):
            await directory.resolve(written, effect=True)


async def test_a_name_that_was_given_to_somebody_else_goes_to_them(clock: Clock) -> None:
    waha, directory = await old(clock, contacts=[person(ANN, "Ann"), person(BEN, "Ben")])
    waha.answers[CONTACTS] = [person(ANN, "Anna"), person(BEN, "Ann")]
    assert await directory.resolve("Ann", effect=True) == BEN
    assert waha.asked[CONTACTS] == 2


@pytest.mark.parametrize(
    "rows",
    [
        [person(ANN, "Anna")],
        [person(ANN, pushname="Ann")],
        [person(ANN, "Ann", isMyContact=False)],
        [person(ANN, "Anna"), person(BEN, pushname="Ann")],
        [],
    ],
    ids=["renamed", "no longer saved", "no longer a contact", "taken by a stranger", "gone"],
)
async def test_a_name_that_was_taken_away_reaches_nobody(rows: Any, clock: Clock) -> None:
    waha, directory = await old(clock, contacts=[person(ANN, "Ann")])
    waha.answers[CONTACTS] = rows
    with pytest.raises(Unresolved):
        await directory.resolve("Ann", effect=True)


async def test_of_two_who_had_one_name_the_one_who_still_has_it_is_meant(clock: Clock) -> None:
    waha, directory = await old(clock, contacts=[person(ANN, "Ann"), person(BEN, "Ann")])
    waha.answers[CONTACTS] = [person(ANN, "Ann"), person(BEN, "Ben")]
    assert await directory.resolve("Ann", effect=True) == ANN


async def test_a_subject_gives_way_to_a_name_that_was_saved_since(clock: Clock) -> None:
    club = {"id": CLUB, "subject": "Ann", "owner": ME}
    waha, directory = await old(clock, contacts=[person(BEN)], groups=[club], the_account=ACCOUNT)
    assert await directory.resolve("Ann", effect=True) == CLUB
    clock.now += MISS_LIFE + 1
    waha.answers[CONTACTS] = [person(ANN, "Ann")]
    assert await directory.resolve("Ann", effect=True) == ANN


async def test_a_subject_is_as_it_is_now(clock: Clock) -> None:
    club = {"id": CLUB, "subject": "Chess", "owner": ME}
    waha, directory = await old(clock, groups=[club], the_account=ACCOUNT)
    waha.answers[GROUPS] = [{**club, "subject": "Go"}]
    with pytest.raises(Unresolved):
        await directory.resolve("Chess", effect=True)
    assert waha.asked[CHATS] == 2


async def test_an_effect_takes_no_table_that_is_read_anew_behind_its_back(clock: Clock) -> None:
    waha = Canned(contacts=[person(ANN, "Ann"), person(BEN, "Ann")])
    directory = directory_of(waha)
    directory._people.start = lambda function: None
    await directory.load()
    clock.now += LIFE + 1
    waha.answers[CONTACTS] = [person(BEN, "Ann")]
    with pytest.raises(Unresolved, match="2 go by the name"):
        await directory.resolve("Ann")
    assert await directory.resolve("Ann", effect=True) == BEN


@pytest.mark.parametrize(("beside", "reached"), [(True, ANN), (False, BEN)])
async def test_a_reader_takes_an_old_table_only_where_it_is_read_anew_beside_them(
    beside: bool, reached: str, clock: Clock
) -> None:
    hidden = "990001@lid"
    waha = Canned(contacts=[person(ANN, "Ann")], hidden_ids=[{"lid": hidden, "pn": ANN}])
    directory = directory_of(waha)
    if beside:
        directory._people.start = lambda function: None
    await directory.load()
    for written in ("Ann", hidden):
        clock.now += LIFE + 1
        waha.answers[CONTACTS] = [person(BEN, "Ann")]
        waha.answers["GET /api/{session}/lids"] = [{"lid": hidden, "pn": BEN}]
        assert await directory.resolve(written) == reached
        assert waha.asked[CONTACTS] == 1 or not beside


async def test_an_effect_reads_the_names_where_none_were_read_and_takes_them_as_they_are() -> None:
    waha = Canned(contacts=[person(ANN, "Ann")])
    assert await directory_of(waha).resolve("Ann", effect=True) == ANN
    assert waha.asked[CONTACTS] == 1


async def test_an_effect_trusts_no_table_that_is_too_old(clock: Clock) -> None:
    waha = Canned(contacts=[person(ANN, "Ann"), person(BEN, "Ben")])
    directory = directory_of(waha)
    await directory.load()
    clock.now += LIFE + 1
    waha.answers[CONTACTS] = [person(ANN, "Ann"), person(BEN, "Ann")]
    with pytest.raises(Unresolved, match="2 go by the name"):
        await directory.resolve("Ann", effect=True)


async def test_of_several_those_of_the_name_are_shown_and_none_that_are_only_alike() -> None:
    waha = Canned(contacts=[person(ANN, "Ann"), person(BEN, "Ann"), person(ME, "Anna")])
    with pytest.raises(Unresolved, match="2 go by the name") as told:
        await directory_of(waha).resolve("Ann", effect=True)
    assert ME not in str(told.value)


async def test_the_accounts_own_name_is_no_recipients(clock: Clock) -> None:
    _, directory = await old(clock, contacts=[person(ME, "Alex"), person(BEN, "Ben")], the_account=ACCOUNT)
    with pytest.raises(Unresolved, match="nobody"):
        await directory.resolve("Alex", effect=True)


async def test_a_name_that_the_account_shares_goes_to_the_other(clock: Clock) -> None:
    _, directory = await old(clock, contacts=[person(ME, "Ann"), person(ANN, "Ann")], the_account=ACCOUNT)
    assert await directory.resolve("Ann", effect=True) == ANN


async def test_who_may_not_be_read_keeps_their_name_after_it_was_looked_up_again(clock: Clock) -> None:
    waha = Canned(contacts=[person(ANN, "Ann")], groups=[{"id": CLUB, "subject": "Ann", "owner": ME}])
    waha.answers["GET /api/sessions"] = ACCOUNT
    directory = directory_of(waha, readable=lambda chat: chat != ANN)
    await directory.load()
    clock.now += MISS_LIFE + 1
    with pytest.raises(Unresolved) as told:
        await directory.resolve("Ann", effect=True)
    assert ANN not in str(told.value)
