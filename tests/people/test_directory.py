"""The directory: whom a name means, the error if that is not exactly one person, and how often WAHA is called."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from tests.people.common import (
    ANN,
    BEN,
    CEM,
    CHATS,
    CHECK,
    CLUB,
    CONTACTS,
    GROUPS,
    HIDDEN,
    LIDS,
    ME,
    SOURCES,
    Canned,
    Clock,
    directory_of,
    loaded,
    person,
    table_of,
)
from waha_mcp.people import resolving
from waha_mcp.people.directory import Directory
from waha_mcp.people.filling import GAP_LIFE, LIFE, MISS_LIFE
from waha_mcp.people.parts import NAMES
from waha_mcp.people.resolving import Unresolved
from waha_mcp.waha.errors import (
    BadAnswer,
    Forbidden,
    SessionNotReady,
    Unauthorized,
    Unreachable,
    Unsupported,
    WahaError,
)
from waha_mcp.waha.parsing import ChatKind

pytestmark = pytest.mark.anyio


async def yes(chat: str) -> bool:
    return True


# How often WAHA is asked


async def test_what_was_fetched_is_kept_for_its_life(clock: Clock) -> None:
    waha = Canned(contacts=[person(ANN, "Ann")])
    directory = directory_of(waha)
    await directory.load()
    clock.now += LIFE - 1
    await directory.load()
    assert waha.asked[CONTACTS] == 1
    clock.now += 2
    await directory.load()
    assert waha.asked[CONTACTS] == 2


@pytest.mark.parametrize(("seconds", "times"), [(MISS_LIFE - 1, 1), (MISS_LIFE + 1, 2)])
async def test_a_refresh_fetches_anew_unless_that_was_a_moment_ago(seconds: float, times: int, clock: Clock) -> None:
    waha = Canned()
    directory = directory_of(waha)
    await directory.load()
    clock.now += seconds
    await directory.refresh()
    assert waha.asked[CONTACTS] == times


async def test_what_was_changed_is_fetched_when_next_asked(clock: Clock) -> None:
    waha = Canned()
    people = table_of(waha)
    directory = Directory(people)
    await directory.load()
    people.expire()
    assert waha.asked[CONTACTS] == 1
    await directory.load()
    assert waha.asked[CONTACTS] == 2


@pytest.mark.parametrize(
    ("answers", "life"),
    [
        ({"contacts": BadAnswer("500")}, GAP_LIFE),
        ({"contacts": BadAnswer("500"), "groups": Unsupported("501")}, GAP_LIFE),
        # What the engine can never list is valid for as long as the rest.
        ({"groups": Unsupported("501")}, LIFE),
        # The same holds for a row that can never be read.
        ({"contacts": [person(ANN, "Ann"), "junk"]}, LIFE),
    ],
    ids=["failed", "failed beside lacking", "lacking", "illegible row"],
)
async def test_what_could_not_be_read_is_tried_again_soon_and_what_cannot_be_is_not(
    answers: dict[str, Any], life: float, clock: Clock
) -> None:
    waha = Canned(**answers)
    directory = directory_of(waha)
    await directory.load()
    asked = waha.asked[CONTACTS]
    clock.now += life - 1
    await directory.load()
    assert waha.asked[CONTACTS] == asked
    clock.now += 2
    await directory.load()
    assert waha.asked[CONTACTS] == asked + 1


async def test_nothing_is_fetched_for_a_key_that_may_not_read() -> None:
    waha = Canned()
    directory = directory_of(waha)
    directory.available = False
    await directory.load()
    await directory.refresh()
    assert await directory.resolve(HIDDEN) == HIDDEN
    assert not waha.asked


@pytest.mark.parametrize("max_age", [LIFE, 0.0])
async def test_who_asks_while_it_is_fetched_gets_what_that_brings(max_age: float, clock: Clock) -> None:
    waha = Canned(contacts=[person(ANN, "Ann")])
    waha.let = anyio.Event()
    directory = directory_of(waha)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(directory.load, max_age=max_age))
            await anyio.wait_all_tasks_blocked()
            clock.now += max_age and 1
            tasks.start_soon(partial(directory.load, max_age=max_age))
            await anyio.wait_all_tasks_blocked()
            waha.let.set()
    assert waha.asked[CONTACTS] == 1
    assert directory.name(ANN) == "Ann"


async def test_what_is_still_good_is_given_while_it_is_fetched_anew(clock: Clock) -> None:
    waha = Canned(contacts=[person(ANN, "Ann")])
    directory = directory_of(waha)
    await directory.load()
    clock.now += LIFE
    waha.let = anyio.Event()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(directory.refresh)
            await anyio.wait_all_tasks_blocked()
            assert waha.asked[CONTACTS] == 2
            await directory.load()  # does not wait for the other
            waha.let.set()


# What could not be read


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    "error", [Unauthorized(), Forbidden("403"), SessionNotReady("422"), Unreachable("down")], ids=repr
)
async def test_a_waha_that_lets_nobody_in_is_an_error_wherever_it_says_so(source: str, error: WahaError) -> None:
    waha = Canned()
    waha.answers[SOURCES[source]] = error
    with pytest.raises(type(error)):
        await directory_of(waha).load()


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("answer", [BadAnswer("Broken. Try again."), {"error": 1}], ids=["error", "no list"])
async def test_one_source_that_cannot_be_read_is_a_gap_and_the_others_are_known(source: Any, answer: Any) -> None:
    waha = Canned()
    waha.answers[SOURCES[source]] = answer
    directory = directory_of(waha)
    await directory.load()
    others = [each for each in NAMES if each != source]
    assert directory.not_known(*others) is None
    [said] = directory.not_known(*others, source) or []
    assert said.startswith(f"{source}: ")


async def test_where_all_names_failed_the_error_goes_up_and_nothing_counts_as_known() -> None:
    waha = Canned(contacts=BadAnswer("first"), groups=BadAnswer("second"), chats=BadAnswer("third"))
    directory = directory_of(waha)
    with pytest.raises(BadAnswer, match="first"):
        await directory.load()
    waha.answers.clear()
    await directory.load()
    assert waha.asked[CONTACTS] == 2


async def test_names_that_came_before_the_failure_are_known() -> None:
    waha = Canned()
    for operation in (CONTACTS, GROUPS, CHATS):
        rows = [{"id": f"1202555{number:04}@c.us", "name": f"Number {number}"} for number in range(200)]
        waha.pages[operation] = [rows, BadAnswer("Broken. Try again.")]
    directory = directory_of(waha)
    await directory.load()
    assert directory.name("12025550007@c.us") == "Number 7"
    assert len(directory.not_known("contacts", "groups", "chats") or []) == 3


# Who is who


@pytest.mark.parametrize(
    ("answers", "saved"),
    [
        ({"contacts": [person(ANN, "Ann", isMyContact=True)]}, True),
        ({"contacts": [person(ANN, "Ann")]}, True),
        ({"contacts": [person(ANN, "Ann", isMyContact=False)]}, False),
        ({"contacts": [person(ANN, pushname="Ann", isMyContact=True)]}, False),
        ({"groups": [{"id": CLUB, "subject": "Ann"}]}, False),
    ],
)
async def test_a_name_is_saved_where_the_owner_gave_it_to_a_person(answers: dict[str, Any], saved: bool) -> None:
    [entry] = (await loaded(**answers)).entries()
    assert entry.shown == "Ann"
    assert entry.saved is saved


async def test_two_rows_of_one_person_complete_each_other_and_the_first_word_stays() -> None:
    directory = await loaded(
        hidden_ids=[{"lid": HIDDEN, "pn": ANN}],
        contacts=[
            person(ANN, "Ann", isMyContact=True),
            person(HIDDEN, "Somebody else", pushname="annie", isMyContact=False),
        ],
        chats=[{"id": ANN, "name": "Third", "conversationTimestamp": 1_790_000_000}],
    )
    [entry] = directory.entries()
    assert (entry.id, entry.lid, entry.kind) == (ANN, HIDDEN, "person")
    assert (entry.name, entry.push_name, entry.last_active) == ("Ann", "annie", 1_790_000_000)
    assert entry.contact is not None
    assert entry.contact.saved is True
    assert directory.get(HIDDEN) is entry
    assert directory.name(HIDDEN) == "Ann"
    assert directory.canonical(HIDDEN) == ANN


@pytest.mark.parametrize(
    "answers",
    [
        {"hidden_ids": [{"lid": HIDDEN, "pn": ANN}]},
        {"contacts": [person(ANN, "Ann", lid=HIDDEN)]},
        {"chats": [{"id": ANN, "lidJid": HIDDEN}]},
        {"the_account": [{"name": "default", "me": {"id": ANN, "lid": HIDDEN}}]},
    ],
    ids=" ".join,
)
async def test_a_hidden_id_is_matched_with_its_number_wherever_waha_shows_both(answers: dict[str, Any]) -> None:
    assert (await loaded(**answers)).canonical(HIDDEN) == ANN


@pytest.mark.parametrize(
    ("lid", "number"),
    [(ANN, BEN), (None, ANN), (HIDDEN, None), (HIDDEN, CLUB), (HIDDEN, "990002@lid"), (HIDDEN, "junk"), (ANN, None)],
)
async def test_nothing_else_is_matched(lid: Any, number: Any) -> None:
    directory = await loaded(hidden_ids=[{"lid": lid, "pn": number}])
    for each in (HIDDEN, ANN, BEN):
        assert directory.canonical(each) == each


@pytest.mark.parametrize(
    ("rows", "mine"),
    [
        ([{"name": "default", "me": {"id": ME, "lid": HIDDEN}}], {ME, HIDDEN}),
        ([{"name": "default", "me": {"id": ME}}], {ME}),
        ([{"name": "default", "me": {"lid": HIDDEN}}], {HIDDEN, ANN}),
        ([{"name": "default", "me": None}], set()),
        ([{"name": "other", "me": {"id": ME}}, {"name": "default", "me": {"id": BEN}}], {BEN}),
    ],
)
async def test_the_accounts_own_ids_are_those_of_its_session(rows: Any, mine: set[str]) -> None:
    directory = await loaded(the_account=rows, hidden_ids=[{"lid": HIDDEN, "pn": ANN}] if ANN in mine else [])
    assert directory.me == mine


async def test_the_account_itself_and_status_stories_are_no_entries() -> None:
    directory = await loaded(
        the_account=[{"name": "default", "me": {"id": ME}}],
        contacts=[person(ME, "Alex"), person(ANN, "Ann"), person(BEN, "Me too", isMe=True), {"id": None, "name": "x"}],
        groups=[{"id": CLUB, "subject": "Club"}, {"id": "junk", "subject": "y"}],
        chats=[{"id": "status@broadcast"}, {"id": None, "name": "z"}, {"id": CEM}],
    )
    assert {entry.id for entry in directory.entries()} == {ANN, CLUB, CEM}


@pytest.mark.parametrize(
    ("row", "active"),
    [
        ({"conversationTimestamp": 1_790_000_000}, 1_790_000_000),
        ({"timestamp": 1_780_000_000}, 1_780_000_000),
        ({"conversationTimestamp": 1_790_000_000, "timestamp": 1_780_000_000}, 1_790_000_000),
        ({}, 0.0),
    ],
)
async def test_a_chat_was_active_when_any_engine_says_so(row: dict[str, Any], active: float) -> None:
    directory = await loaded(contacts=[person(BEN, "Ben")], chats=[{"id": ANN, **row}])
    entry, without = directory.get(ANN), directory.get(BEN)
    assert entry is not None
    assert without is not None
    assert entry.last_active == active
    assert without.last_active is None


@pytest.mark.parametrize(
    ("chat", "name", "names"),
    [
        (ANN, "Ann Lee", (None, "Ann Lee")),  # the name may be chosen by the person who wrote
        (ANN, "+1 202 555 0101", (None, None)),
        (ANN, None, (None, None)),
        (CLUB, "Chess Club 4", ("Chess Club 4", None)),
        ("120363000000000009@newsletter", "News", ("News", None)),
    ],
)
async def test_a_chats_name_is_nobodys_saved_name(chat: str, name: str | None, names: tuple[Any, Any]) -> None:
    entry = (await loaded(chats=[{"id": chat, "name": name}])).get(chat)
    assert entry is not None
    assert (entry.name, entry.push_name) == names
    assert entry.shown == (names[0] or names[1])
    assert not entry.saved


async def test_what_may_not_be_read_is_as_if_it_were_not_there() -> None:
    directory = await loaded({"readable": lambda chat: chat != ANN}, contacts=[person(ANN, "Ann"), person(BEN, "Ben")])
    assert directory.get(ANN) is None
    assert directory.get(CEM) is None
    assert [entry.id for entry in directory.entries()] == [BEN]
    assert directory.find("ann", 5) == []
    assert directory.completions("", 5) == ["Ben"]
    for effect in (False, True):
        with pytest.raises(Unresolved, match="'Ann' is nobody's name here") as told:
            await directory.resolve("Ann", effect=effect)
        assert ANN not in str(told.value)


# Finding


async def found(query: str, *names: str | tuple[str, str], limit: int = 10) -> list[str]:
    """The names in the order found; the first one given has the latest chat."""
    pairs = [name if isinstance(name, tuple) else (name, "") for name in names]
    ids = [f"1202555{number:04}@c.us" for number in range(len(pairs))]
    directory = await loaded(
        contacts=[person(each, name, pushname=push) for each, (name, push) in zip(ids, pairs, strict=True)],
        chats=[{"id": each, "timestamp": 1_790_000_000 - number} for number, each in enumerate(ids)],
    )
    return [entry.shown or "" for entry in directory.find(query, limit)]


async def test_the_very_name_comes_before_its_beginning_a_word_of_it_and_what_is_like_it() -> None:
    in_order = ["Ann", "Annabel", "Zoe Ann", "Hannah"]
    assert await found("ann", *reversed(in_order)) == in_order
    assert await found("ann", *reversed(in_order), limit=2) == in_order[:2]


async def test_those_that_are_alike_come_by_their_latest_message() -> None:
    assert await found("smith", "Zoe Smith", "Ann Smith", "Mia Smith") == ["Zoe Smith", "Ann Smith", "Mia Smith"]


async def test_of_a_persons_names_the_one_that_fits_best_counts() -> None:
    assert await found("ann", "Anna", ("Ann", "Hannah"), ("Banning", "Ann")) == ["Ann", "Banning", "Anna"]


async def test_those_that_are_alike_and_without_a_chat_come_by_name_or_id() -> None:
    directory = await loaded(contacts=[person(ANN, "Smith Zoe"), person(BEN, "Smith Ann"), person(CEM), person(ME)])
    assert [entry.id for entry in directory.find("smith", 5)] == [BEN, ANN]
    assert [entry.id for entry in directory.find("1202555", 5)] == [ME, CEM, BEN, ANN]


@pytest.mark.parametrize(
    ("query", "there"),
    [("101", True), ("(555) 01-01", True), ("+1 202 555 0101", True), ("01", False), ("room 101", False), ("", False)],
)
async def test_three_digits_and_no_letters_find_a_number(query: str, there: bool) -> None:
    directory = await loaded(contacts=[person(ANN), person(BEN), person(CLUB)])
    assert [entry.id for entry in directory.find(query, 5)] == ([ANN] if there else [])


async def test_what_is_like_nothing_finds_nothing() -> None:
    assert await found("zzyzx", "Ann", "Ben") == []


# Completing


async def test_completions_are_texts_that_resolve_takes() -> None:
    directory = await loaded(
        contacts=[person(ANN, "Ann"), person(BEN, "Ben"), person(CEM, "Ben"), person(ME)],
        chats=[{"id": CEM, "timestamp": 1_790_000_000}, {"id": BEN, "timestamp": 1_780_000_000}],
    )
    assert directory.completions("ann", 1) == ["Ann"]
    # Two are called Ben, and one has no name.
    assert directory.completions(" ", 5)[:2] == [CEM, BEN]
    assert set(directory.completions("", 5)[2:]) == {"Ann", ME}
    assert directory.completions("", 1) == [CEM]
    for each in directory.completions("", 5):
        assert await directory.resolve(each)


async def test_a_name_that_somebody_unknown_may_have_too_is_completed_as_an_id() -> None:
    for groups, text in ((BadAnswer("500"), ANN), (Unsupported("501"), "Ann")):
        directory = await loaded(contacts=[person(ANN, "Ann")], groups=groups)
        assert directory.completions("ann", 5) == [text]


async def test_a_name_is_one_persons_to_read_and_nobodys_to_write_where_the_others_may_not_be_read() -> None:
    directory = await loaded({"readable": lambda chat: chat != BEN}, contacts=[person(ANN, "Ann"), person(BEN, "Ann")])
    assert directory.completions("ann", 5) == ["Ann"]
    assert await directory.resolve("Ann") == ANN
    with pytest.raises(Unresolved, match="who is meant by 'Ann' is not certain") as told:
        await directory.resolve("Ann", effect=True)
    assert BEN not in str(told.value)


async def test_a_saved_name_of_somebody_who_may_not_be_read_goes_to_no_group() -> None:
    directory = await loaded(
        {"readable": lambda chat: chat != BEN, "written": yes},
        contacts=[person(BEN, "Ann")],
        groups=[{"id": CLUB, "subject": "Ann"}],
    )
    assert await directory.resolve("Ann") == CLUB
    with pytest.raises(Unresolved, match="nobody is saved under exactly the name 'Ann'"):
        await directory.resolve("Ann", effect=True)


# Resolving


async def test_ids_are_taken_as_they_are_and_only_a_hidden_one_is_looked_up() -> None:
    waha = Canned(hidden_ids=[{"lid": HIDDEN, "pn": ANN}])
    directory = directory_of(waha)
    assert await directory.resolve("12025550101@s.whatsapp.net") == ANN
    assert await directory.resolve(CLUB, effect=True) == CLUB
    assert not waha.asked
    assert await directory.resolve(HIDDEN) == ANN
    assert await directory.resolve("990009@lid") == "990009@lid"


@pytest.mark.parametrize("effect", [False, True])
@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("Zzyzx", "'Zzyzx' is nobody's name here"),
        ("?!", "'?!' is nobody's name here"),
        ("Room 101", "'Room 101' is nobody's name here"),
        ("0151 123456", "'0151 123456' has no country code"),
        ("12", "'12' is not a phone number that can exist"),
        ("\u200b", "is nobody's name here"),
        ("\u0301", "is nobody's name here"),
    ],
)
async def test_what_names_nobody_is_told_why(written: str, words: str, effect: bool) -> None:
    # Names of invisible characters are no names.
    directory = await loaded(contacts=[person(ANN, "\u200b"), person(BEN, "\u0301"), person(CEM, "Cem")])
    with pytest.raises(Unresolved) as told:
        await directory.resolve(written, effect=effect)
    assert words in str(told.value)


@pytest.mark.parametrize(("written", "words"), [("Ann", "this key has no read action"), ("0151 12", "no country code")])
async def test_a_key_that_may_not_read_is_told_why_it_has_no_names(written: str, words: str) -> None:
    directory = directory_of(Canned(contacts=[person(ANN, "Ann")]))
    directory.available = False
    with pytest.raises(Unresolved, match=words):
        await directory.resolve(written)


async def test_a_name_may_be_written_like_a_number_that_is_none() -> None:
    directory = await loaded(contacts=[person(ANN, "007"), person(BEN, "0800 1"), person(CEM, "0800 1")])
    assert await directory.resolve("007", effect=True) == ANN
    with pytest.raises(Unresolved, match="2 go by the name '0800 1'"):
        await directory.resolve("0800 1", effect=True)


@pytest.mark.parametrize(("kind", "chat"), [("person", ANN), ("group", CLUB), ("channel", None), (None, None)])
async def test_names_of_other_kinds_do_not_count(kind: ChatKind | None, chat: str | None) -> None:
    directory = await loaded(contacts=[person(ANN, "Chess")], groups=[{"id": CLUB, "subject": "Chess"}])
    if chat is None:
        with pytest.raises(Unresolved):
            await directory.resolve("chess", kind)
    else:
        assert await directory.resolve("chess", kind) == chat


@pytest.mark.parametrize("name", ["", "\u200b", "\u3164"])
async def test_a_name_that_shows_nothing_is_none(name: str) -> None:
    contacts = [person(ANN, name, pushname=name), person(BEN, "Ben")]
    directory = await loaded(
        contacts=contacts, groups=[{"id": CLUB, "subject": name}], chats=[{"id": CEM, "name": name}]
    )
    entries = {entry.id: (entry.name, entry.push_name, entry.saved) for entry in directory.entries()}
    assert entries.pop(BEN) == ("Ben", None, True)
    assert entries == dict.fromkeys((ANN, CEM, CLUB), (None, None, False))
    assert directory.find(name, 5) == []


async def test_a_saved_name_comes_before_subjects() -> None:
    groups = [{"id": CLUB, "subject": "Ann", "owner": ME}]
    account = [{"name": "default", "me": {"id": ME}}]
    directory = await loaded({"written": yes}, contacts=[person(ANN, "Ann")], groups=groups, the_account=account)
    assert await directory.resolve("Ann", effect=True) == ANN
    # If nobody is saved under it, the subject is enough.
    directory = await loaded({"written": yes}, contacts=[person(BEN)], groups=groups, the_account=account)
    assert await directory.resolve("Ann", effect=True) == CLUB


@pytest.mark.parametrize("contacts", [[], Unsupported("501"), BadAnswer("500")], ids=["none", "501", "500"])
async def test_a_subject_reaches_nobody_while_it_is_not_known_who_is_saved(contacts: Any) -> None:
    groups = [{"id": CLUB, "subject": "Ann", "owner": ME}]
    directory = await loaded(
        {"written": yes}, contacts=contacts, groups=groups, the_account=[{"name": "default", "me": {"id": ME}}]
    )
    with pytest.raises(Unresolved, match=r"1 found with the name 'Ann' among what could be read \(not known: conta"):
        await directory.resolve("Ann", effect=True)
    # Where only a group is possible, no person is meant.
    assert await directory.resolve("Ann", "group", effect=True) == CLUB
    with pytest.raises(Unresolved):
        await directory.resolve("Ann", "person", effect=True)
    assert await directory.resolve("Ann") == CLUB


@pytest.mark.parametrize(
    "answers",
    [
        {"contacts": [person(ANN, "Bank", isMyContact=False)]},
        {"contacts": [person(ANN, pushname="Bank")]},
        {"chats": [{"id": ANN, "name": "Bank"}]},
        {"contacts": [person(ANN, "\u200b", pushname="Bank")]},
    ],
    ids=["not saved", "chosen", "of the chat", "chosen beside a saved name that shows nothing"],
)
async def test_a_name_that_a_person_chose_reaches_nobody_even_where_the_account_wrote(answers: Any) -> None:
    directory = await loaded({"written": yes}, **answers)
    assert await directory.resolve("Bank") == ANN
    with pytest.raises(Unresolved, match="nobody is saved under exactly the name 'Bank'") as told:
        await directory.resolve("Bank", effect=True)
    assert f"- {ANN}: person who calls themselves 'Bank', " in str(told.value)


@pytest.mark.parametrize(
    ("row", "ours"),
    [
        ({"owner": ME}, True),
        ({"owner": "12025550100@s.whatsapp.net"}, True),
        ({"owner": HIDDEN}, True),
        ({"ownerPn": ME, "owner": "990009@lid"}, True),
        ({"OwnerJID": ME}, True),
        ({"OwnerPN": ME}, True),
        ({"owner": ANN}, False),
        ({"owner": None, "ownerPn": "", "OwnerPN": ANN}, False),
        ({}, False),
    ],
)
async def test_a_subject_reaches_a_group_that_the_account_made(row: dict[str, Any], ours: bool) -> None:
    directory = await loaded(
        contacts=[person(BEN)],
        the_account=[{"name": "default", "me": {"id": ME, "lid": HIDDEN}}],
        groups=[{"id": CLUB, "subject": "Chess", **row}, {"id": "junk", **row}, {"JID": "120363000000000002@g.us"}],
    )
    if ours:
        assert await directory.resolve("Chess", effect=True) == CLUB
    else:
        with pytest.raises(Unresolved, match="nobody is saved under exactly the name 'Chess'"):
            await directory.resolve("Chess", effect=True)
    assert await directory.resolve("Chess") == CLUB


async def test_a_subject_reaches_a_group_that_the_account_wrote_in() -> None:
    asked: list[str] = []

    async def written(chat: str) -> bool:
        asked.append(chat)
        return chat == CLUB

    other = "120363000000000002@g.us"
    directory = await loaded(
        {"written": written},
        contacts=[person(BEN)],
        groups=[{"id": CLUB, "subject": "Chess"}, {"id": other, "subject": "Chess"}],
    )
    assert await directory.resolve("Chess", effect=True) == CLUB
    assert set(asked) == {CLUB, other}


@pytest.mark.parametrize(("sealed", "asked"), [({CLUB}, []), ({"120363000000000002@g.us"}, [CLUB]), (set(), [CLUB])])
async def test_a_subject_that_may_not_be_shown_causes_no_request_of_its_own(sealed: set[str], asked: list[str]) -> None:
    looked_at: list[str] = []

    async def written(chat: str) -> bool:
        looked_at.append(chat)
        return False

    directory = await loaded(
        {"written": written, "readable": lambda chat: chat not in sealed},
        contacts=[person(BEN)],
        groups=[{"id": CLUB, "subject": "Chess"}],
    )
    with pytest.raises(Unresolved, match=r"nobody is saved under|is nobody's name"):
        await directory.resolve("Chess", effect=True)
    assert looked_at == asked


@pytest.mark.parametrize("own", ["created", "written"])
async def test_a_subject_that_a_sealed_group_has_too_reaches_nobody(own: str) -> None:
    other = "120363000000000002@g.us"
    row = {"owner": ME} if own == "created" else {}
    directory = await loaded(
        {"written": yes, "readable": lambda chat: chat != other},
        contacts=[person(BEN)],
        groups=[{"id": other, "subject": "Chess", **row}, {"id": CLUB, "subject": "Chess"}],
        the_account=[{"name": "default", "me": {"id": ME}}],
    )
    with pytest.raises(Unresolved, match="who is meant by 'Chess' is not certain"):
        await directory.resolve("Chess", effect=True)


async def test_without_a_way_to_tell_no_chat_counts_as_written_to() -> None:
    directory = await loaded(groups=[{"id": CLUB, "subject": "Chess"}])
    with pytest.raises(Unresolved):
        await directory.resolve("Chess", effect=True)


PARTS = {"contacts": [person(ANN, "Ann")], "chats": [{"id": CLUB, "name": "Chess"}]}


@pytest.mark.parametrize(
    ("name", "failing", "error", "passes"),
    [
        ("Ann", "contacts", BadAnswer, False),
        ("Ann", "groups", BadAnswer, True),
        ("Ann", "groups", Unsupported, True),
        ("Chess", "contacts", BadAnswer, False),
        ("Chess", "contacts", Unsupported, False),
        ("Chess", "groups", BadAnswer, False),
        ("Chess", "groups", Unsupported, True),
    ],
)
async def test_an_effect_takes_no_name_that_somebody_unknown_may_have_too(
    name: str, failing: str, error: type[WahaError], passes: bool
) -> None:
    waha = Canned(**PARTS)
    if failing == "contacts":
        # What came before the failure is known.
        strangers = [person(f"1202555{number:04}@c.us", f"Stranger {number}") for number in range(1000, 1100)]
        waha.pages[CONTACTS] = [[*strangers, *PARTS["contacts"]], error("Broken. Try again.")]
    else:
        waha.answers[SOURCES[failing]] = error("Broken. Try again.")
    directory = directory_of(waha, written=yes)
    chat = ANN if name == "Ann" else CLUB
    assert await directory.resolve(name) == chat
    if passes:
        waha.pages.clear()
        assert await directory.resolve(name, effect=True) == chat
    else:
        with pytest.raises(Unresolved) as told:
            await directory.resolve(name, effect=True)
        assert f"1 found with the name {name!r} among what could be read (not known: {failing}: " in str(told.value)
        assert f"- {chat}: " in str(told.value)


async def test_a_name_that_is_not_known_is_looked_for_anew(clock: Clock) -> None:
    waha = Canned(contacts=[person(ANN, "Ann")])
    directory = directory_of(waha)
    assert await directory.resolve("Ann") == ANN
    waha.answers[CONTACTS] = [person(ANN, "Ann"), person(BEN, "Ben")]
    with pytest.raises(Unresolved):
        await directory.resolve("Ben")
    clock.now += MISS_LIFE + 1
    assert await directory.resolve("Ann") == ANN
    assert waha.asked[CONTACTS] == 1
    assert await directory.resolve("Ben") == BEN
    assert waha.asked[CONTACTS] == 2


# Candidates


async def lines(name: str, *, effect: bool = False, **answers: Any) -> list[str]:
    with pytest.raises(Unresolved) as told:
        await (await loaded(**answers)).resolve(name, effect=effect)
    return str(told.value).splitlines()


async def test_several_of_one_name_are_shown_the_saved_first_then_the_latest() -> None:
    what, *candidates = await lines(
        "Ann",
        contacts=[
            person(ANN, pushname="Ann"),
            person(BEN, "Ann"),
            person(CEM, "Ann"),
            person(ME, "Ann"),
        ],
        groups=[{"id": CLUB, "subject": "Ann"}],
        chats=[
            {"id": ANN, "timestamp": 1_799_000_000},
            {"id": CLUB, "timestamp": 1_798_000_000},
            {"id": BEN, "timestamp": 1_780_000_000},
            {"id": CEM, "timestamp": 1_790_000_000},
        ],
    )
    assert what == "5 go by the name 'Ann', and nothing was done. Ask the user who is meant, and pass that id:"
    starts = [
        f"- {CEM}: person saved as 'Ann', last active 2026-09-2",
        f"- {BEN}: person saved as 'Ann', last active 2026-05-",
        f"- {ME}: person saved as 'Ann', no chat yet",
        f"- {ANN}: person who calls themselves 'Ann', last active 2027-",
        f"- {CLUB}: group 'Ann', last active 2026-12-",
    ]
    assert len(candidates) == len(starts)
    for candidate, start in zip(candidates, starts, strict=True):
        assert candidate.startswith(start)


async def test_those_of_one_name_come_by_when_they_were_last_active_however_they_were_found() -> None:
    # Many, so that the order is not correct by chance.
    people = [f"1202555{number:04}@c.us" for number in (104, 101, 107, 103, 106, 102, 105)]
    chats = [{"id": chat, "timestamp": 1_790_000_000 + int(chat[7:11])} for chat in people]
    _, *candidates = await lines("Ann", contacts=[person(chat, "Ann") for chat in people], chats=chats)
    latest = sorted(people, reverse=True)[: resolving.CANDIDATES]
    assert [line[2:].partition(":")[0] for line in candidates] == latest


async def test_a_chat_of_an_unknown_time_is_not_said_to_be_none() -> None:
    _, *candidates = await lines("An", contacts=[person(ANN, "Ann")], chats=[{"id": ANN}])
    assert candidates == [f"- {ANN}: person saved as 'Ann', last active unknown"]


async def test_who_is_only_like_the_name_is_shown_by_likeness() -> None:
    what, *candidates = await lines(
        "Jon Smit",
        contacts=[person(ANN, "Jon Smythe"), person(BEN, "Jon Smith"), person(CEM, pushname="Jon Smit 2")],
        chats=[{"id": ANN, "timestamp": 1_790_000_000}],
    )
    assert what.startswith("nobody goes by exactly the name 'Jon Smit', and nothing was done. Ask the user")
    assert [line.split(":")[0] for line in candidates] == [f"- {BEN}", f"- {ANN}", f"- {CEM}"]


async def test_no_more_than_a_few_candidates_are_shown() -> None:
    contacts = [person(f"1202555{number:04}@c.us", f"Smith {number}") for number in range(9)]
    assert len(await lines("Smith", contacts=contacts)) == 1 + resolving.CANDIDATES


@pytest.mark.parametrize("effect", [False, True])
async def test_where_nobody_is_like_it_the_answer_says_what_would_be_right(effect: bool) -> None:
    [what] = await lines("Zzyzx", contacts=[person(ANN, "Ann")], effect=effect)
    assert what.startswith("'Zzyzx' is nobody's name here, and nothing was done: give a phone number")
    [what] = await lines("Zzyzx", contacts=[person(ANN, "Ann")], groups=BadAnswer("Broken. x"), effect=effect)
    assert what.startswith(
        "nobody was found with the name 'Zzyzx' among what could be read (not known: groups: Broken), "
    )


# Numbers


NUMBER = "+44 0 7700 900142"
DIALLED, TRUE = "447700900142@c.us", "447700900199@c.us"


def on_whatsapp(**answer: Any) -> Canned:
    waha = Canned()
    waha.answers[CHECK] = answer
    return waha


async def test_a_number_goes_by_its_true_id_and_is_asked_about_once() -> None:
    waha = on_whatsapp(numberExists=True, chatId="447700900199@s.whatsapp.net")
    directory = directory_of(waha)
    for _ in range(3):
        assert await directory.resolve(NUMBER) == TRUE
    assert waha.asked[CHECK] == 1


async def test_a_number_without_a_true_id_is_the_one_dialled() -> None:
    assert await directory_of(on_whatsapp(numberExists=True)).resolve(NUMBER) == DIALLED


async def test_a_number_whose_true_id_is_hidden_goes_by_the_number_that_is_known() -> None:
    waha = on_whatsapp(numberExists=True, chatId=HIDDEN)
    waha.answers[LIDS] = [{"lid": HIDDEN, "pn": ANN}]
    directory = directory_of(waha)
    await directory.load()
    assert await directory.resolve(NUMBER) == ANN


async def test_a_number_that_is_known_is_not_asked_about() -> None:
    waha = Canned(contacts=[person(DIALLED, "Maya")])
    waha.answers[CHECK] = {"numberExists": False}
    directory = directory_of(waha)
    await directory.load()
    assert await directory.resolve(NUMBER, effect=True) == DIALLED
    assert not waha.asked[CHECK]


async def test_a_key_that_may_not_read_asks_about_no_number() -> None:
    waha = on_whatsapp(numberExists=False)
    directory = directory_of(waha)
    directory.available = False
    assert await directory.resolve(NUMBER) == DIALLED
    assert not waha.asked


async def test_where_the_engine_cannot_tell_the_number_is_taken_as_it_is() -> None:
    waha = Canned()
    waha.answers[CHECK] = Unsupported("501")
    assert await directory_of(waha).resolve(NUMBER) == DIALLED


async def test_a_number_that_is_not_on_whatsapp_is_said_to_be_so() -> None:
    with pytest.raises(Unresolved, match=r"^\+447700900142 is not on WhatsApp, and nothing was done"):
        await directory_of(on_whatsapp(numberExists=False, chatId=TRUE)).resolve(NUMBER)


@pytest.mark.parametrize("answer", [{}, {"numberExists": None}, {"numberExists": "no"}, {"chatId": TRUE}], ids=repr)
async def test_an_answer_that_does_not_say_whether_a_number_exists_means_neither(answer: dict[str, Any]) -> None:
    with pytest.raises(BadAnswer, match="does not say whether the number is on WhatsApp"):
        await directory_of(on_whatsapp(**answer)).resolve(NUMBER)


async def test_only_so_many_true_ids_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "NUMBERS", 2)
    waha = on_whatsapp(numberExists=True)
    directory = directory_of(waha)
    one, two, three = "+1 202 555 0111", "+1 202 555 0112", "+1 202 555 0113"
    for number in (one, two, one, two):
        await directory.resolve(number)
    assert waha.asked[CHECK] == 2
    await directory.resolve(three)
    await directory.resolve(one)
    assert waha.asked[CHECK] == 4
