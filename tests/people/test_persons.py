"""The person behind a chat id, for every shape of answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.policy.canned import Canned, canned
from tests.policy.common import DAD, SAM, STRANGER
from waha_mcp.people.directory import Directory
from waha_mcp.people.filling import FilledTable
from waha_mcp.people.people_table import Entry, PeopleTable
from waha_mcp.people.persons import PUBLIC, STATUS, People, Person
from waha_mcp.waha.errors import Unreachable, WahaError
from waha_mcp.waha.models import Reached

pytestmark = pytest.mark.anyio

LID, OTHER_LID = "900000000000001@lid", "900000000000002@lid"
GROUP = "120363000000000001@g.us"
OURS: Any = {"id": f"true_{SAM}_AA", "fromMe": True, "body": "hi"}
THEIRS: Any = {"id": f"false_{SAM}_AB", "fromMe": False, "body": "hi"}
#: Rows of the account's own in a chat that are no messages.
NO_MESSAGES: list[dict[str, Any]] = [
    {"_data": {"message": {"reactionMessage": {"text": "👍"}}}},
    {"_data": {"Message": {"encReactionMessage": {"targetMessageKey": {}}}}},
    {"_data": {"message": {"pollUpdateMessage": {"vote": {}}}}},
    {"_data": {"message": {"protocolMessage": {"type": 0, "key": {"id": "AC"}}}}},
    {"_data": {"message": {"protocolMessage": {"type": 3}}}},
    {"_data": {"message": None, "messageStubType": 20}},
    {"_data": {"message": None, "messageStubType": 1}},
    {"_data": {"type": "e2e_notification"}},
    {"_data": {"type": "gp2"}},
    {"_data": {"type": "call_log"}},
    {"_data": {"type": "revoked"}},
    {"_data": {"message": {"somethingNew": {}}}},
    {"body": "never sent", "ack": -1},
    {},
]
REFUSED, UNSUPPORTED = httpx.Response(422, json={}), httpx.Response(501, json={})


@pytest.fixture
async def waha(anyio_backend: str) -> AsyncIterator[Canned]:
    async with canned() as answers:
        yield answers


async def test_a_pair_of_ids_is_looked_up_once_from_either_side(waha: Canned) -> None:
    waha.pair(LID, SAM)
    people = People(FilledTable(waha.waha))
    assert people.twin(SAM) is None
    assert await people.learn(LID) == SAM
    assert await people.learn(SAM) == LID
    assert await people.learn(LID) == SAM
    assert waha.asked == [f"/api/default/lids/{LID}"]


async def test_a_number_that_waha_does_not_match_is_asked_for_again(waha: Canned) -> None:
    people = People(FilledTable(waha.waha))
    assert await people.learn(SAM) is None
    waha.pair(LID, SAM)
    assert await people.learn(SAM) == LID


@pytest.mark.parametrize("chat", [GROUP, "120363@newsletter", STATUS, "17@broadcast"])
async def test_only_people_have_a_second_id(chat: str, waha: Canned) -> None:
    assert await People(FilledTable(waha.waha)).learn(chat) is None
    assert waha.asked == []


async def test_a_row_that_holds_only_one_id_takes_nothing_from_what_is_known(waha: Canned) -> None:
    waha.pair(LID, SAM)
    people = People(FilledTable(waha.waha))
    await people.learn(SAM)
    waha.answers["/api/default/lids"] = [
        {"lid": LID, "pn": None},
        {"id": "x", "lid": None, "pn": SAM},
        {"lid": OTHER_LID, "pn": DAD},
    ]
    await people.learn_all()
    assert (people.twin(LID), people.twin(SAM)) == (SAM, LID)
    assert (people.twin(OTHER_LID), people.twin(DAD)) == (DAD, OTHER_LID)


async def test_a_table_of_hidden_ids_that_cannot_be_read_is_an_error(waha: Canned) -> None:
    with pytest.raises(WahaError):
        await People(FilledTable(waha.waha)).learn_all()


@pytest.mark.parametrize("ours", [True, False])
async def test_messages_under_the_other_id_count(ours: bool, waha: Canned) -> None:
    waha.pair(LID, SAM)
    waha.messages(SAM, [])
    waha.messages(LID, [OURS])
    assert await People(FilledTable(waha.waha)).has_messages(SAM, ours=ours)


@pytest.mark.parametrize(
    ("rows", "ours", "found"),
    [
        ([], True, False),
        ([], False, False),
        ([OURS], True, True),
        ([OURS], False, True),
        ([THEIRS], True, False),
        ([THEIRS], False, True),
        ([{**OURS, "fromMe": "true"}], True, False),
        *(([{**OURS, "body": "", **row}], True, False) for row in NO_MESSAGES),
        ([{**OURS, "body": "", **NO_MESSAGES[0]}] * 19 + [OURS], True, True),
        ([{}], False, False),
        (httpx.Response(404, json={"statusCode": 404, "message": "Not found"}), True, False),
        (httpx.Response(404, json={"statusCode": 404, "message": "Not found"}), False, False),
    ],
)
async def test_whether_there_are_messages_is_what_waha_shows(rows: Any, ours: bool, found: bool, waha: Canned) -> None:
    waha.messages(SAM, rows)
    people = People(FilledTable(waha.waha))
    assert await people.has_messages(SAM, ours=ours) is found
    if ours:
        assert await people.has_written(SAM) is found


async def test_what_was_found_is_not_looked_up_again_and_what_was_not_is(waha: Canned) -> None:
    waha.pair(LID, SAM)
    waha.messages(SAM, [THEIRS])
    waha.messages(LID, [])
    people = People(FilledTable(waha.waha))
    assert await people.has_messages(SAM, ours=False)
    asked = len(waha.asked)
    assert await people.has_messages(SAM, ours=False)
    assert await people.has_messages(LID, ours=False)
    assert len(waha.asked) == asked
    # That the other side wrote does not say that this account has.
    assert not people.is_met(SAM)
    assert not await people.has_messages(SAM, ours=True)
    waha.messages(SAM, [OURS])
    assert await people.has_messages(SAM, ours=True)
    assert people.is_met(SAM)
    assert people.is_met(LID)


def _without_filter(refusal: httpx.Response, rows: list[Any]) -> Any:
    return lambda query: refusal if "filter.fromMe" in query else rows[: int(query["limit"])]


@pytest.mark.parametrize("refusal", [REFUSED, UNSUPPORTED], ids=["refused", "unsupported"])
@pytest.mark.parametrize(
    ("rows", "found"), [([THEIRS, OURS], True), ([THEIRS], False), ([], False), ([THEIRS] * 100 + [OURS], False)]
)
async def test_an_engine_that_refuses_the_filter_is_read_back_a_page(
    refusal: httpx.Response, rows: list[Any], found: bool, waha: Canned
) -> None:
    waha.messages(SAM, _without_filter(refusal, rows))
    assert await People(FilledTable(waha.waha)).has_messages(SAM, ours=True) is found


@pytest.mark.parametrize("refusal", [REFUSED, UNSUPPORTED], ids=["refused", "unsupported"])
async def test_messages_that_cannot_be_read_at_all_are_no_answer(refusal: httpx.Response, waha: Canned) -> None:
    waha.messages(SAM, refusal)
    for ours in (True, False):
        with pytest.raises(WahaError):
            await People(FilledTable(waha.waha)).has_messages(SAM, ours=ours)


@pytest.mark.parametrize("refusal", [REFUSED, UNSUPPORTED], ids=["refused", "unsupported"])
async def test_what_is_no_message_is_none_where_a_page_is_read_back(refusal: httpx.Response, waha: Canned) -> None:
    waha.messages(SAM, _without_filter(refusal, [{**OURS, "body": "", **row} for row in NO_MESSAGES]))
    assert not await People(FilledTable(waha.waha)).has_messages(SAM, ours=True)


async def test_the_people_in_a_group_are_those_there_now_but_for_the_account(waha: Canned) -> None:
    waha.pair(LID, SAM)
    waha.answers["/api/sessions"] = [{"name": "default", "me": {"id": "12025550100@c.us"}}]
    waha.answers[f"/api/default/groups/{GROUP}/participants/v2"] = [
        {"id": LID, "role": "admin"},
        {"id": OTHER_LID, "pn": DAD, "role": "participant"},
        {"id": DAD, "role": "participant"},
        {"id": STRANGER, "role": "left"},
        {"id": "12025550100@c.us", "role": "superadmin"},
        {"id": "junk"},
        {"id": "12025550198@s.whatsapp.net"},
    ]
    people = People(FilledTable(waha.waha))
    await people.learn(LID)
    await people.table.load("the account")
    assert await people.members(GROUP) == [SAM, DAD, "12025550198@c.us"]


CONTACT, GROUPS = "/api/contacts", f"/api/default/groups/{GROUP}"


@pytest.mark.parametrize(
    ("chat", "answer", "words", "chosen"),
    [
        (SAM, {"name": "Sam", "pushname": "S."}, "Sam (+12025550123)", False),
        (SAM, {"name": "Sam", "isMyContact": True}, "Sam (+12025550123)", False),
        (SAM, {"name": "Sam", "isMyContact": False}, "+12025550123, who calls themselves “Sam”", True),
        # An engine that does not tell a saved name from a chosen one.
        (SAM, {"name": "Sam"}, "+12025550123, who calls themselves “Sam”", True),
        (SAM, {"name": "Sam", "isMyContact": "yes"}, "+12025550123, who calls themselves “Sam”", True),
        (SAM, {"name": "Sam", "verifiedName": "S."}, "+12025550123, who calls themselves “Sam”", True),
        (SAM, {"pushname": "S."}, "+12025550123, who calls themselves “S.”", True),
        (SAM, {"pushName": "S."}, "+12025550123, who calls themselves “S.”", True),
        (SAM, {"name": {"a": 1}, "pushname": 7}, "+12025550123", False),
        (SAM, {"name": " ", "pushname": ""}, "+12025550123", False),
        (SAM, {"name": " ", "pushname": "S."}, "+12025550123, who calls themselves “S.”", True),
        (SAM, [], "+12025550123", False),
        (LID, {"pushname": "S."}, f"{LID}, who calls themselves “S.”", True),
        (SAM, {"name": "Sam\n\u202egro", "notify": ""}, "Sam gro (+12025550123)", False),
        (SAM, {"name": "x" * 81, "pushName": ""}, f"{'x' * 80} (+12025550123)", False),
        (GROUP, {"subject": "Choir"}, f"the group “Choir” ({GROUP})", True),
        (GROUP, {"Name": "Choir"}, f"the group “Choir” ({GROUP})", True),
        (GROUP, {"name": "Choir"}, f"the group “Choir” ({GROUP})", True),
        (GROUP, {"subject": "Choir", "participants": [{}] * 12}, f"the group “Choir” ({GROUP}, 12 members)", True),
        (GROUP, {"Name": "Choir", "Participants": [{}]}, f"the group “Choir” ({GROUP}, 1 member)", True),
        (GROUP, {"Name": "Choir", "ParticipantCount": 1024}, f"the group “Choir” ({GROUP}, 1,024 members)", True),
        (GROUP, {"subject": "Choir", "participants": [], "size": 3}, f"the group “Choir” ({GROUP}, 3 members)", True),
        (GROUP, {"subject": "Choir", "participants": []}, f"the group “Choir” ({GROUP})", True),
        (GROUP, {"subject": "Choir", "size": 0}, f"the group “Choir” ({GROUP})", True),
        (GROUP, {"subject": "Choir", "size": "12"}, f"the group “Choir” ({GROUP})", True),
        (GROUP, {"subject": "Choir (3 members)"}, f"the group “Choir (3 members)” ({GROUP})", True),
        (GROUP, {"size": 12}, f"the group {GROUP}, 12 members", False),
        (SAM, {"name": "Sam", "size": 12, "participants": [{}], "isMyContact": True}, "Sam (+12025550123)", False),
        (GROUP, httpx.Response(404, json={}), GROUP, False),
        (SAM, httpx.Response(500, json={}), "+12025550123", False),
    ],
)
async def test_a_chat_is_named_as_far_as_waha_tells(
    chat: str, answer: Any, words: str, chosen: bool, waha: Canned
) -> None:
    waha.answers[CONTACT] = waha.answers[GROUPS] = answer
    person = await People(FilledTable(waha.waha)).describe(chat)
    assert str(person) == words
    assert person.reached == Reached(words, chosen)


@pytest.mark.parametrize(
    ("chat", "words"), [(PUBLIC, "everyone who can see this account"), (STATUS, "everyone who sees its status stories")]
)
async def test_everyone_is_looked_up_nowhere(chat: str, words: str, waha: Canned) -> None:
    assert str(await People(FilledTable(waha.waha)).describe(chat, Directory(FilledTable(waha.waha)))) == words
    assert waha.asked == []


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (Entry(SAM, "person", name="Sam", saved=True, push_name="S."), "Sam (+12025550123)"),
        (Entry(SAM, "person", push_name="S."), "+12025550123, who calls themselves “S.”"),
        (Entry(GROUP, "group", name="Choir"), f"the group “Choir” ({GROUP})"),
    ],
)
async def test_a_directory_that_knows_a_chat_is_taken_at_its_word(
    entry: Entry, words: str, waha: Canned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Directory, "get", lambda self, chat: entry if chat == entry.id else None)
    waha.answers[CONTACT] = {"name": "Somebody else", "pushname": ""}
    people, directory = People(FilledTable(waha.waha)), Directory(FilledTable(waha.waha))
    assert str(await people.describe(entry.id, directory)) == words
    assert waha.asked == []
    assert str(await people.describe(STRANGER, directory)) == "Somebody else (+12025550199)"


def test_a_person_without_any_name_has_none_that_somebody_chose() -> None:
    assert Person(SAM).reached == Reached("+12025550123", chosen=False)
    assert Person(SAM, "Sam", "S.").reached == Reached("Sam (+12025550123)", chosen=False)


@pytest.mark.parametrize("mark", ["”", "“", '"', "»", "‟", "″", "＂", "〞", "❞"])
@pytest.mark.parametrize("chat", ["12025550177@c.us", "120363000000000000@g.us"])
def test_what_others_call_themselves_ends_where_its_quotation_marks_end(chat: str, mark: str) -> None:
    shown = str(Person(chat, claims=f"Bob{mark}, Maya Lindqvist (+447700900142), the group {mark}Work"))
    inside = shown.partition("“")[2].rpartition("”")[0]
    assert inside == "Bob', Maya Lindqvist (+447700900142), the group 'Work"


async def test_whom_one_account_has_met_another_on_the_same_session_has_not() -> None:
    async with canned() as answers:
        people = People(FilledTable(answers.waha))
        people.table.table = PeopleTable(me=frozenset({"12025550100@c.us"}))
        people.remember(SAM)
        people.table.table = PeopleTable(me=frozenset({"12025550100@c.us", "100000000000001@lid"}))
        assert people.is_met(SAM)
        people.table.table = PeopleTable()
        assert people.is_met(SAM)
        people.table.table = PeopleTable(me=frozenset({"12025550111@c.us"}))
        assert not people.is_met(SAM)


@pytest.mark.parametrize(
    ("chat", "known"), [(STATUS, True), (SAM, True), (DAD, True), (GROUP, True), (STRANGER, False), (OTHER_LID, False)]
)
async def test_a_chat_is_known_that_is_the_accounts_own_or_in_the_table(chat: str, known: bool, waha: Canned) -> None:
    waha.answers["/api/sessions"] = [{"name": "default", "me": {"id": SAM}}]
    waha.answers["/api/contacts/all"] = [{"id": DAD, "name": "Dad"}]
    waha.answers["/api/default/groups"] = [{"id": GROUP, "subject": "Book club"}]
    table = FilledTable(waha.waha)
    await table.load()
    assert People(table).is_known(chat) is known


@pytest.mark.parametrize("status", [400, 404, 422, 500, 501])
async def test_a_chat_that_waha_cannot_show_is_not_there(status: int, waha: Canned) -> None:
    waha.messages(SAM, httpx.Response(status, json={"message": "no such chat"}))
    assert not await People(FilledTable(waha.waha)).is_there(SAM)


async def test_a_waha_that_lets_nobody_in_does_not_say_that_a_chat_is_not_there(waha: Canned) -> None:
    waha.messages(SAM, httpx.Response(401, json={}))
    with pytest.raises(WahaError):
        await People(FilledTable(waha.waha)).is_there(SAM)


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        ({"id": GROUP, "participants": [{"id": SAM}, {"id": DAD}]}, 2),
        ({"subject": "Book club"}, None),
        ([], None),
        (httpx.Response(500, json={}), None),
    ],
    ids=str,
)
async def test_a_group_has_as_many_members_as_waha_says(answer: Any, count: int | None, waha: Canned) -> None:
    waha.answers[f"/api/default/groups/{GROUP}"] = answer
    assert await People(FilledTable(waha.waha)).member_count(GROUP) == count


async def test_the_members_of_what_is_no_group_are_not_counted(waha: Canned) -> None:
    waha.answers["/api/contacts"] = {"id": SAM, "name": "Sam"}
    assert await People(FilledTable(waha.waha)).member_count(SAM) is None


@pytest.mark.parametrize("row", [{"id": None}, {"_data": {"message": {"protocolMessage": {"type": 0}}}}], ids=str)
async def test_what_was_deleted_or_has_no_id_is_nothing_that_was_written(row: Any, waha: Canned) -> None:
    waha.messages(SAM, [{**OURS, **row}])
    assert not await People(FilledTable(waha.waha)).has_written(SAM)


@pytest.mark.parametrize("status", [403, 404, 422, 500])
@pytest.mark.parametrize("strict", [False, True])
async def test_who_cannot_be_looked_up_is_described_without_a_name(strict: bool, status: int, waha: Canned) -> None:
    waha.answers["/api/contacts"] = httpx.Response(status, json={"message": "no", "statusCode": status})
    assert str(await People(FilledTable(waha.waha)).describe(SAM, strict=strict)) == "+12025550123"


async def test_only_who_asks_strictly_is_told_that_waha_is_away(waha: Canned) -> None:
    def away(_: Any) -> Any:
        raise httpx.ConnectError("gone")

    waha.answers["/api/contacts"] = away
    people = People(FilledTable(waha.waha))
    assert str(await people.describe(SAM)) == "+12025550123"
    with pytest.raises(Unreachable):
        await people.describe(SAM, strict=True)
