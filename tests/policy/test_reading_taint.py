"""`after_reading_strangers = "ask"`: what was read with a key taints later effects, for an hour, in all processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from mcp import Client
from pydantic import BaseModel, SecretStr

from tests.contract.rows import ROWS, arguments, chosen, hands_out_others_words, missing, reads
from tests.contract.world import furnish
from tests.harness import Admin, payload, sandbox_server, stdio_client, texts, with_buttons
from tests.models import models_in
from tests.policy.canned import BASE, Canned, canned
from tests.policy.common import DAD, MAYA, SAM, STRANGER, SetClock, bridge_with, effects
from tests.policy.test_gate import refused
from waha_mcp.app.definition import App
from waha_mcp.bridge import Bridge
from waha_mcp.people.filling import FilledTable
from waha_mcp.people.persons import PUBLIC, STATUS, People
from waha_mcp.policy.call import Call
from waha_mcp.policy.question import Question
from waha_mcp.policy.reading import SEVERAL, Reading, _words
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.store import Store, StoreAway, remove
from waha_mcp.tools.catalog import CATALOG, Tool
from waha_mcp.tools.core.chat_messages import MessageView
from waha_mcp.tools.presenting import bearers_in
from waha_mcp.waha.messages import message_from
from waha_mcp.whatsapp.ids import NOT_KNOWN
from waha_mcp.whatsapp.untrusted import others_in, own_in

pytestmark = pytest.mark.anyio

ASK: dict[str, Any] = {"after_reading_strangers": "ask"}
GROUP, CHANNEL, LID = "120363000000000001@g.us", "120363000000000002@newsletter", "650000000000001@lid"
HOUR = 3_600.0

# The state, in each kind of store


@pytest.fixture
async def waha() -> AsyncIterator[Canned]:
    async with canned() as answers:
        yield answers


class Reader:
    """One process of an App."""

    def __init__(self, waha: Canned, store: Store, *, key: str = "one", app: str = "assistant", rule: str = "ask"):
        definition = App(url=BASE, key=SecretStr(key), id=app, after_reading_strangers=cast(Any, rule))
        self.people = People(FilledTable(waha.waha))
        self.reading = Reading(definition, self.people, store)
        #: A person whom the account knows.
        self.known: set[str] = set()

    async def read(self, *chats: str) -> None:
        """Return a message that others wrote in each of these chats."""
        for chat in chats:
            message = message_from({"id": f"false_{chat}_A", "body": "Send me the code"})
            assert message is not None
            await self.reading.note(MessageView(chat=chat, message=message, before=None, after=None), names=True)

    async def asked(self, *reached: str) -> list[str]:
        """Why a person is asked before an effect that reaches these chats."""

        async def knows(chat: str) -> bool:
            return chat in self.known

        call = Call(CATALOG["send_text"], {}, cast(Any, None))
        call.reached = reached
        return [reason.text({chat: chat for chat in reached}) for reason in await self.reading.reasons(call, knows)]


@pytest.mark.parametrize(
    ("read", "reached", "asks_about"),
    [
        ([], [MAYA], []),
        ([SAM], [MAYA], []),
        ([SAM, SAM], [MAYA, STATUS], []),
        ([STRANGER], [STRANGER], []),
        ([STRANGER], [MAYA], [MAYA]),
        ([STRANGER], [MAYA, STRANGER], [MAYA]),
        ([STRANGER], [PUBLIC], [PUBLIC]),
        ([STRANGER], [], []),
        ([GROUP], [GROUP], []),
        ([GROUP], [SAM], [SAM]),
        ([CHANNEL], [SAM], [SAM]),
        ([STATUS], [STATUS], [STATUS]),
        ([SAM, MAYA], [SAM], [SAM]),
        ([SAM, GROUP], [GROUP], [GROUP]),
        ([STRANGER, SAM], [STRANGER], [STRANGER]),
        ([NOT_KNOWN], [SAM], [SAM]),
    ],
)
async def test_only_the_one_chat_that_was_read_is_answered_unasked(
    read: list[str], reached: list[str], asks_about: list[str], waha: Canned, store: Store
) -> None:
    reader = Reader(waha, store)
    reader.known = {SAM, MAYA}
    await reader.read(*read)
    reasons = await reader.asked(*reached)
    assert len(reasons) == bool(asks_about)
    for reason in reasons:
        assert reason.endswith(f" within the last hour, and this reaches {', '.join(asks_about)}")


@pytest.mark.parametrize(
    ("read", "words"),
    [
        ([SAM, MAYA], "the agent has read messages of several chats within"),
        ([STRANGER], "the agent has read messages of a stranger, +12025550199, within"),
        ([GROUP], f"the agent has read messages of the group “{{0}} & {{friends}}” ({GROUP}, 2 members) within"),
        ([CHANNEL], "the agent has read messages of a channel within"),
        ([STATUS], "the agent has read messages of status stories within"),
    ],
)
async def test_the_question_says_what_was_read(read: list[str], words: str, waha: Canned, store: Store) -> None:
    waha.answers[f"/api/default/groups/{GROUP}"] = {"id": GROUP, "subject": "{0} & {friends}", "size": 2}
    reader = Reader(waha, store)
    await reader.read(*read)
    [reason] = await reader.asked(DAD)
    assert reason.startswith(words)


async def test_it_is_one_state_for_all_processes_of_a_key(waha: Canned, store: Store) -> None:
    one, two = Reader(waha, store), Reader(waha, store)
    one.known = two.known = {SAM, MAYA}
    await one.read(SAM)
    assert await two.asked(DAD) == []
    await two.read(MAYA)
    assert "several chats" in (await one.asked(SAM))[0]
    await one.read(SAM)
    assert "several chats" in (await Reader(waha, store).asked(SAM))[0]


@pytest.mark.parametrize("other", [{"key": "two"}, {"app": "another"}], ids=str)
async def test_another_key_or_app_is_not_tainted(other: dict[str, str], waha: Canned, store: Store) -> None:
    await Reader(waha, store).read(STRANGER)
    assert await Reader(waha, store, **other).asked(DAD) == []


async def test_it_is_over_an_hour_after_the_last_reading_by_the_stores_clock(
    waha: Canned, store: Store, set_clock: SetClock
) -> None:
    set_clock(0)
    reader = Reader(waha, store)
    await reader.read(GROUP)
    set_clock(HOUR - 60)
    assert await reader.asked(DAD)
    await reader.read(GROUP)
    set_clock(HOUR + 60)
    assert await reader.asked(DAD)
    set_clock(2 * HOUR)
    assert await reader.asked(DAD) == []
    # Earlier readings do not count for a new one.
    reader.known = {SAM}
    await reader.read(SAM)
    assert await reader.asked(DAD) == []


async def test_a_stranger_who_is_answered_stays_one(waha: Canned, store: Store) -> None:
    reader, other = Reader(waha, store), Reader(waha, store)
    await reader.read(STRANGER)
    assert await reader.asked(STRANGER) == []
    reader.known = other.known = {STRANGER}
    await reader.read(STRANGER)
    for each in (reader, other):
        assert "a stranger" in (await each.asked(DAD))[0]
        assert await each.asked(STRANGER) == []


async def test_the_number_and_the_hidden_id_of_a_person_are_one(waha: Canned, store: Store) -> None:
    waha.pair(LID, STRANGER)
    reader = Reader(waha, store)
    await reader.people.learn(LID)
    await reader.read(LID, STRANGER, LID)
    assert await reader.asked(STRANGER) == []
    assert await reader.asked(LID) == []
    assert "a stranger" in (await reader.asked(DAD))[0]


async def test_ids_that_are_not_known_as_one_persons_are_two(waha: Canned, store: Store) -> None:
    reader = Reader(waha, store)
    await reader.read(LID, STRANGER)
    assert "several chats" in (await reader.asked(STRANGER))[0]


class Wrapped:
    """A store that counts what it is asked, and can be away."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.away = False
        self.steps: list[str] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name == "now":
            return found

        def step(*given: Any, **more: Any) -> Any:
            self.steps.append(name)
            if self.away:
                raise StoreAway("The store is away.")
            return found(*given, **more)

        return step


async def test_what_is_read_while_the_store_is_away_is_written_once_it_is_back(waha: Canned, store: Store) -> None:
    wrapped = Wrapped(store)
    reader = Reader(waha, cast(Store, wrapped))
    reader.known = {SAM, MAYA}
    wrapped.away = True
    await reader.read(SAM, MAYA)
    with pytest.raises(StoreAway):
        await reader.asked(SAM)
    wrapped.away = False
    assert "several chats" in (await reader.asked(SAM))[0]
    assert "several chats" in (await Reader(waha, store).asked(SAM))[0]


async def test_a_later_reading_brings_what_could_not_be_written(waha: Canned, store: Store) -> None:
    wrapped = Wrapped(store)
    reader = Reader(waha, cast(Store, wrapped))
    wrapped.away = True
    await reader.read(GROUP)
    wrapped.away = False
    await reader.read(SAM)
    assert "several chats" in (await Reader(waha, store).asked(SAM))[0]


async def test_a_reading_costs_one_step_of_the_store_and_asks_waha_nothing(waha: Canned, store: Store) -> None:
    wrapped = Wrapped(store)
    reader = Reader(waha, cast(Store, wrapped))
    await reader.read(SAM, SAM, MAYA, SAM)
    assert wrapped.steps == ["swap"] * 4
    assert waha.asked == []


async def test_without_the_field_nothing_is_kept(waha: Canned, store: Store) -> None:
    wrapped = Wrapped(store)
    reader = Reader(waha, cast(Store, wrapped), rule="allow")
    await reader.read(STRANGER, GROUP)
    assert await reader.asked(DAD) == []
    assert wrapped.steps == []


# What counts as reading

#: Arguments with which each tool returns others' words, besides its valid arguments, and the chat that then counts as
#: read. GROUP, STRANGER and MESSAGE stand for a group made by a stranger, its maker and a message of theirs.
COLOURS = {name: row.others for name, row in ROWS.items() if row.others is not None}
#: Tools that read and return nobody's words.
NOBODYS = {name for name, row in ROWS.items() if row.nobodys}


@pytest.mark.tools
@pytest.mark.parametrize("tool", CATALOG.values(), ids=CATALOG)
def test_every_reading_tool_says_whether_it_returns_others_words(tool: Tool) -> None:
    assert tool.name in ROWS, missing()
    said = [tool.name in COLOURS, tool.name in NOBODYS].count(True)
    assert said == reads(tool), f"in tests/contract/rows.py, the row of {tool.name} needs " + (
        "others= or nobodys=, and not both" if reads(tool) else "neither others= nor nobodys=: it does not read"
    )


@pytest.mark.tools
def test_no_tool_that_is_said_to_return_nobodys_words_returns_others() -> None:
    wrong = [name for name in NOBODYS if hands_out_others_words(CATALOG[name])]
    assert wrong == [], "they do: give their rows in tests/contract/rows.py others= instead of nobodys="


def row(bridge: Bridge) -> str | None:
    found = [each.value for each in bridge.policy.store.rows("read")]
    assert len(found) < 2
    return found[0] if found else None


def forget(bridge: Bridge) -> None:
    for each in bridge.policy.store.rows("read"):
        remove(bridge.policy.store, "read", each.key)


@pytest.mark.tools
async def test_every_tool_that_returns_others_words_taints(sandbox: SandboxInfo, admin: Admin) -> None:
    world = await furnish(admin)
    sent = {"chatId": STRANGER, "text": "Please wire it today", "pushName": "Zed"}
    message = (await admin.request("POST", "/sandbox/messages", sent))["id"]
    await admin.request("POST", "/sandbox/messages", sent | {"text": "Are you there?"})
    group = (await admin.request("POST", "/sandbox/groups", {"subject": "Winners only", "from": STRANGER}))["id"]
    await admin.request("PUT", f"/api/default/labels/chats/{STRANGER}", {"labels": [{"id": "2"}]})
    await admin.request("PUT", f"/api/default/labels/chats/{SAM}", {"labels": []})
    means = {"STRANGER": STRANGER, "GROUP": group, "MESSAGE": message, "CHANNEL": world.channel}
    means |= {"SPARE": world.spare_group, "OWN CHANNEL": world.own_channel}
    given = arguments(world)
    colours = {name: COLOURS[name] for name in chosen(COLOURS)}
    async with bridge_with(sandbox, "full", toolsets=frozenset({"all"}), **ASK) as bridge:
        found = {}
        for name, (more, _) in colours.items():
            forget(bridge)
            filled = {
                each: means.get(value, value) if isinstance(value, str) else value for each, value in more.items()
            }
            await bridge.answer(name, given[name] | filled)
            found[name] = row(bridge)
    assert found == {name: chat and means.get(chat, chat) for name, (_, chat) in colours.items()}


def test_every_field_with_others_words_counts() -> None:
    """A result with only this field, so that no new field is forgotten."""
    people = cast(FilledTable, Nobody())
    models = {each for tool in CATALOG.values() for each in models_in(tool.result)}
    seen = 0
    for model in models:
        for name in others_in(model):
            value: Any = ["x"] if "list[" in str(model.model_fields[name].annotation) else "x"
            fields: dict[str, Any] = dict.fromkeys(model.model_fields) | {name: value}
            if bearer := bearers_in(model).get(name):
                fields[bearer] = GROUP
            made = BaseModel.model_construct.__func__(model, **fields)  # type: ignore[attr-defined]
            counted = set(_words(made, GROUP, people, mine=False, names=True))
            assert counted == (set() if name in own_in(model) else {GROUP}), (model, name)
            seen += 1
    assert seen > 50


MESSAGES: dict[str, tuple[dict[str, Any], bool]] = {
    "an own text": ({"fromMe": True, "body": "Hello"}, False),
    "a text of theirs": ({"body": "Hello"}, True),
    "an own answer that quotes them": ({"fromMe": True, "body": "Yes", "replyTo": {"body": "Send it"}}, True),
    "an own text that was forwarded": (
        {"fromMe": True, "body": "Send it", "_data": {"message": {"extendedTextMessage": {
            "text": "Send it", "contextInfo": {"isForwarded": True}}}}},
        True,
    ),
    "an own file": (
        {"fromMe": True, "hasMedia": True, "media": {"mimetype": "application/pdf", "filename": "offer.pdf"}},
        False,
    ),
    "a file of theirs without a word": ({"hasMedia": True, "media": {"mimetype": "image/jpeg"}}, True),
    "an own contact card": (
        {"fromMe": True, "vCards": ["BEGIN:VCARD\nVERSION:3.0\nFN:Ada\nEND:VCARD"]},
        False,
    ),
    "an own text with the preview of a page": (
        {"fromMe": True, "body": "https://example.com", "_data": {"message": {"extendedTextMessage": {
            "text": "https://example.com", "title": "Send it", "matchedText": "https://example.com"}}}},
        True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("which", MESSAGES)
async def test_own_messages_are_no_reading_but_where_they_hold_others_words(
    which: str, waha: Canned, store: Store
) -> None:
    fields, reads = MESSAGES[which]
    reader = Reader(waha, store)
    message = message_from({"id": f"{'true' if fields.get('fromMe') else 'false'}_{STRANGER}_A"} | fields)
    assert message is not None
    await reader.reading.note(MessageView(chat=STRANGER, message=message, before=None, after=None), names=True)
    assert bool(await reader.asked(DAD)) is reads


async def test_the_names_of_saved_people_are_no_reading(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, **ASK) as bridge:
        found = await bridge.answer("find_chats", {"query": "Sam Okafor", "limit": 1})
        assert "Sam Okafor" in str(found.data)
        assert row(bridge) is None
        with pytest.raises(Exception, match="Sam Okafor"):
            await bridge.answer("send_text", {"chat": "Sam Okafr", "text": "Hi"})
        assert row(bridge) is None


async def test_an_error_that_tells_of_names_or_buttons_is_a_reading(sandbox: SandboxInfo, admin: Admin) -> None:
    sent = {"chatId": STRANGER, "text": "Well?", "raw": with_buttons("Wire it to +1 202 555 0177", "No")}
    message = (await admin.request("POST", "/sandbox/messages", sent))["id"]
    group = (await admin.request("POST", "/sandbox/groups", {"subject": "Winners only", "from": STRANGER}))["id"]
    async with bridge_with(sandbox, "full", toolsets=frozenset({"all"}), **ASK) as bridge:
        with pytest.raises(Exception, match="Wire it to"):
            await bridge.answer("reply_to_buttons", {"message_id": message, "label": "Perhaps"})
        assert (row(bridge) or "").removesuffix(" stranger") == STRANGER
        forget(bridge)
        with pytest.raises(Exception, match="Winners only"):
            await bridge.answer("send_text", {"chat": "Winners onli", "text": "Hi"})
        assert row(bridge) == group


async def test_what_an_effect_answers_is_a_reading_where_it_shows_a_message(sandbox: SandboxInfo, admin: Admin) -> None:
    message = (await admin.request("POST", "/sandbox/messages", {"chatId": STRANGER, "text": "Wire it"}))["id"]
    async with bridge_with(sandbox, **ASK) as bridge:
        done = await bridge.answer("react", {"message_id": message, "emoji": "👍"})
        assert "Wire it" in str(done.data)
        assert row(bridge) == STRANGER


async def test_whom_an_effect_has_reached_is_no_reading(sandbox: SandboxInfo, admin: Admin) -> None:
    group = (await admin.request("POST", "/sandbox/groups", {"subject": "Winners only", "from": STRANGER}))["id"]
    async with bridge_with(sandbox, **ASK) as bridge:
        done = await bridge.answer("send_text", {"chat": group, "text": "Hello"})
        assert "Winners only" in str(done.data)
        assert row(bridge) is None


async def test_an_answer_that_a_send_waits_for_is_a_reading(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, **ASK) as bridge:
        await bridge.answer("get_messages", {"chat": MAYA})
        found = await bridge.answer("send_text", {"chat": SAM, "text": "Hi", "wait_for_reply": 20}, ask=yes)
        assert found.data["replies"]
        # Only Maya was read, and she is known; with Sam there are several.
        assert row(bridge) == SEVERAL


async def yes(question: Question) -> bool | None:
    return True


async def test_a_yes_is_for_the_one_call(sandbox: SandboxInfo, admin: Admin) -> None:
    asked: list[Question] = []

    async def once(question: Question) -> bool | None:
        asked.append(question)
        return True

    async with bridge_with(sandbox, **ASK) as bridge:
        await bridge.answer("list_chats", {})
        await admin.clear()
        await bridge.answer("send_text", {"chat": MAYA, "text": "One"}, ask=once)
        assert len(await admin.performed("/api/sendText")) == 1
        who = "Maya Lindqvist (+447700900142)"
        assert asked[0].why == (
            f"the agent has read messages of several chats within the last hour, and this reaches {who}",
        )
        await admin.clear()
        await refused(bridge, "send_text", {"chat": MAYA, "text": "Two"}, "waiting for approval")
        assert await effects(admin) == []
        # The reading lasts.
        await bridge.answer("get_messages", {"chat": MAYA})
        await bridge.answer("get_media", {"message_id": await voice(admin)})


async def voice(admin: Admin) -> str:
    return (await furnish(admin)).voice


async def test_one_known_person_taints_nothing(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox, **ASK) as bridge:
        await bridge.answer("get_messages", {"chat": SAM})
        await bridge.answer("send_text", {"chat": MAYA, "text": "One"})
        assert row(bridge) == SAM


async def test_a_stranger_whom_the_list_names_is_none(sandbox: SandboxInfo, admin: Admin) -> None:
    await admin.request("POST", "/sandbox/messages", {"chatId": STRANGER, "text": "Wire it"})
    allow = {"send": {"allow": [STRANGER, "*"]}}
    async with bridge_with(sandbox, chats=allow, **ASK) as bridge:
        await bridge.answer("get_messages", {"chat": STRANGER})
        await bridge.answer("send_text", {"chat": MAYA, "text": "One"})


async def test_reading_asks_waha_the_same_with_the_field_and_without(sandbox: SandboxInfo, admin: Admin) -> None:
    asked: list[list[str]] = []
    for rule in ("allow", "ask"):
        async with bridge_with(sandbox, id=rule, after_reading_strangers=rule) as bridge:
            await admin.clear()
            for name, given in (("list_chats", {}), ("get_messages", {"chat": SAM}), ("get_unread", {})):
                await bridge.answer(name, given)
            asked.append(sorted(r["path"] for r in await admin.requests()))
    assert asked[0] == asked[1]


async def test_the_agent_and_the_log_are_told_in_a_phrase(sandbox: SandboxInfo) -> None:
    for rule in ("allow", "ask"):
        async with bridge_with(sandbox, after_reading_strangers=rule) as bridge:
            status = await bridge.answer("get_status", {})
            assert ("asks before reaching others" in status.data["reach"]) is (rule == "ask")
            assert row(bridge) is None


# Real processes


@asynccontextmanager
async def served(sandbox: SandboxInfo, app: Path, key: str) -> AsyncIterator[Client]:
    async with stdio_client(sandbox, sandbox.keys[key], "--app", str(app)) as client:
        yield client


async def test_two_processes_a_restart_and_another_key(tmp_path: Path) -> None:
    with sandbox_server() as sandbox:
        app = tmp_path / "app.toml"
        policy = 'after_reading_strangers = "ask"\n[pace]\ngap = [0, 0]\n'
        app.write_text(f'id = "one"\nurl = "{sandbox.url}"\nkey = {{ env = "WAHA_API_KEY" }}\n{policy}')

        async def sends(client: Client, text: str) -> str:
            return texts(await client.call_tool("send_text", {"chat": DAD, "text": text}))

        async with served(sandbox, app, "read_send") as one, served(sandbox, app, "read_send") as two:
            assert "message_id" in await sends(two, "Before")
            payload(await one.call_tool("list_chats", {}))
            assert "waiting for approval" in await sends(two, "From the other")
            assert "waiting for approval" in await sends(one, "From the same")
        async with served(sandbox, app, "read_send") as again, served(sandbox, app, "full") as other:
            assert "waiting for approval" in await sends(again, "After a restart")
            assert "message_id" in await sends(other, "With another key")


async def test_a_resource_is_a_reading(tmp_path: Path) -> None:
    with sandbox_server() as sandbox:
        app = tmp_path / "app.toml"
        head = f'url = "{sandbox.url}"\nkey = {{ env = "WAHA_API_KEY" }}\n'
        app.write_text(head + 'after_reading_strangers = "ask"\n')
        async with served(sandbox, app, "read_send") as client:
            await client.read_resource("waha://unread")
            answer = await client.call_tool("send_text", {"chat": DAD, "text": "Hello"})
            assert "waiting for approval" in texts(answer)


class Nobody:
    """A table of people without entries."""

    class table:
        me: frozenset[str] = frozenset()

    def entry(self, chat: str) -> None:
        return None
