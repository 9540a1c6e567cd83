"""The decisions of the gate alone, with tools made for the tests and a WAHA with canned answers."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tests.policy.canned import BASE, Canned, canned
from tests.policy.common import DAD, MAYA, SAM
from waha_mcp.app.actions import Action, Grant
from waha_mcp.app.definition import App
from waha_mcp.app.policy_fields import PolicyFields
from waha_mcp.people.directory import Directory
from waha_mcp.people.filling import FilledTable
from waha_mcp.policy import NOT_FOUND, Refusal, gate
from waha_mcp.policy.call import Call
from waha_mcp.policy.question import Question
from waha_mcp.tools.catalog import READS, SENDS, SETS, Context, Hints, Tool
from waha_mcp.tools.params import Chat, Members
from waha_mcp.waha.errors import OutcomeUnknown, WahaError
from waha_mcp.waha.models import Result

pytestmark = pytest.mark.anyio

ME, FRIENDS = "12025550100@c.us", "120363000000000001@g.us"
CONTACTS = "/api/contacts/all"


class Row(Result):
    id: str


class Rows(Result):
    chats: list[Row]


async def everything(*, ctx: Context) -> Rows:
    return Rows(chats=[Row(id=SAM), Row(id=DAD)])


async def members(chat: Chat, *, ctx: Context) -> Rows:
    return await everything(ctx=ctx)


async def wave(chats: Members, *, ctx: Context) -> Result:
    for each in chats:
        await ctx.waha.call("POST /api/startTyping", body={"chatId": each})
    return Result()


class Gate:
    """The gate of an App with these fields, and the requests that it makes."""

    def __init__(self, waha: Canned, fields: dict[str, Any]) -> None:
        parsed = PolicyFields.model_validate(fields)
        given = {name: getattr(parsed, name) for name in fields}
        app = App(id="alone", url=BASE, key=SecretStr("key"), session="default", **given)
        table = FilledTable(waha.waha)
        self.waha, self.policy = waha, gate.Policy(app, table)
        directory = Directory(table, self.policy.readable, self.policy.written)
        self.context = Context(
            app, waha.waha, Grant.initial(frozenset(Action)), directory, readable=self.policy.readable
        )
        self.questions: list[Question] = []

    async def ask(self, question: Question) -> bool:
        self.questions.append(question)
        return True

    async def run(self, run: Callable[..., Any], hints: Hints, *, again: bool = False, **arguments: Any) -> Any:
        tool = Tool(
            run.__name__, "Try", "", Action.READ if hints is READS else Action.SEND, (), "core", hints, None, run
        )
        await self.policy.prepare(self.context.grant)
        result = await self.policy.run(Call(tool, arguments, self.context, ask=self.ask, allow_repeat=again))
        return result.model_dump()


@pytest.fixture
async def waha(anyio_backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Canned]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    async with canned() as answers:
        answers.answers |= {
            "/api/default/lids": [{"lid": "900000000000001@lid", "pn": SAM}, {"lid": "900000000000009@lid", "pn": DAD}],
            "/api/sessions": [{"name": "default", "status": "WORKING", "me": {"id": ME}}],
            CONTACTS: [{"id": SAM, "name": "Sam", "pushname": ""}, {"id": DAD, "name": "Dad", "pushname": ""}],
            "/api/default/groups": [{"id": FRIENDS, "subject": "Friends"}],
            "/api/default/chats": [],
            "/api/startTyping": None,
        }
        yield answers


def ids(result: Any) -> list[str]:
    return [each["id"] for each in result["chats"]]


async def test_what_was_asked_for_without_a_chat_holds_no_hidden_one(waha: Canned) -> None:
    hiding = Gate(waha, {"chats": {"read": {"deny": [DAD]}}})
    assert ids(await hiding.run(everything, READS)) == [SAM]


async def test_what_was_asked_for_by_chat_is_shown_whole(waha: Canned) -> None:
    hiding = Gate(waha, {"chats": {"read": {"deny": [DAD]}}})
    assert ids(await hiding.run(members, READS, chat=SAM)) == [SAM, DAD]


async def test_what_was_asked_for_of_a_broadcast_holds_no_hidden_chat(waha: Canned) -> None:
    hiding = Gate(waha, {"chats": {"read": {"allow": ["broadcasts", SAM]}}})
    assert ids(await hiding.run(members, READS, chat="17@broadcast")) == [SAM]


async def test_without_lists_nothing_is_taken_out(waha: Canned) -> None:
    assert ids(await Gate(waha, {}).run(everything, READS)) == [SAM, DAD]


async def test_a_chat_that_only_waha_shows_may_be_read_beside_a_hidden_one(waha: Canned) -> None:
    hiding = Gate(waha, {"chats": {"read": {"deny": [DAD]}}})
    with pytest.raises(Refusal, match=NOT_FOUND):
        await hiding.run(members, READS, chat=MAYA)
    waha.messages(MAYA, [{"id": f"false_{MAYA}_AA"}])
    waha.answers["/api/default/lids/pn/447700900142"] = {"lid": "900000000000002@lid", "pn": MAYA}
    await hiding.policy._people.learn(MAYA)
    assert ids(await hiding.run(members, READS, chat=MAYA)) == [SAM, DAD]


async def test_a_known_chat_costs_no_request_beside_a_hidden_one(waha: Canned) -> None:
    hiding = Gate(waha, {"chats": {"read": {"deny": [DAD]}}})
    await hiding.run(members, READS, chat=SAM)
    assert not [each for each in waha.asked if "messages" in each]


async def test_of_one_person_there_is_no_count_of_members(waha: Canned) -> None:
    waha.answers["/api/contacts"] = {"id": SAM, "name": "Sam"}
    await Gate(waha, {}).run(wave, SETS, chats=[SAM])
    assert not [each for each in waha.asked if "/groups/" in each]


async def test_of_a_group_whose_members_a_row_tells_they_are_not_asked_for_again(waha: Canned) -> None:
    group = f"/api/default/groups/{FRIENDS}"
    waha.answers[group] = {"id": FRIENDS, "subject": "Friends", "participants": [{"id": SAM}, {"id": DAD}]}
    await Gate(waha, {}).run(wave, SETS, chats=[FRIENDS])
    assert waha.asked.count(group) == 1


async def test_who_may_not_be_read_is_reached_by_the_id_alone(waha: Canned) -> None:
    group = f"/api/default/groups/{FRIENDS}"
    waha.answers[group] = {"id": FRIENDS, "subject": "Friends", "participants": [{"id": SAM}]}
    hiding = Gate(waha, {"chats": {"read": {"deny": [FRIENDS]}}, "approval": "never"})
    await hiding.run(wave, SETS, chats=[FRIENDS])
    assert group not in waha.asked


async def test_the_account_among_several_makes_no_other_call_also_where_it_is_not_known_yet(waha: Canned) -> None:
    await Gate(waha, {}).run(wave, SENDS, chats=[SAM])
    for chats in ([SAM, ME], [ME, SAM], [SAM]):
        with pytest.raises(Refusal, match="The same was done"):
            await Gate(waha, {}).run(wave, SENDS, chats=chats)


async def test_a_person_reads_that_it_may_happen_twice_also_where_nobody_is_asked_otherwise(waha: Canned) -> None:
    lost = Gate(waha, {"approval": "never"})
    waha.answers["/api/startTyping"] = httpx.Response(500, json={})
    with pytest.raises(OutcomeUnknown):
        await lost.run(wave, SENDS, chats=[SAM])
    assert lost.questions == []
    waha.answers["/api/startTyping"] = None
    await lost.run(wave, SENDS, chats=[SAM], again=True)
    [question] = lost.questions
    assert any("it may happen twice" in why for why in question.why)


async def test_a_yes_from_before_is_not_for_what_may_happen_twice(waha: Canned) -> None:
    asked = Gate(waha, {"approval": "send"})
    refused = httpx.Response(422, json={"statusCode": 422, "message": "no"})
    waha.answers["/api/startTyping"] = refused
    with pytest.raises(WahaError):
        await asked.run(wave, SENDS, chats=[SAM])
    # The approval is given back. Then the answer to the same call is lost, in another process of the App without
    # approval.
    waha.answers["/api/startTyping"] = httpx.Response(500, json={})
    with pytest.raises(OutcomeUnknown):
        await Gate(waha, {"approval": "never"}).run(wave, SENDS, chats=[SAM])
    waha.answers["/api/startTyping"] = None
    await asked.run(wave, SENDS, chats=[SAM], again=True)
    assert len(asked.questions) == 2
