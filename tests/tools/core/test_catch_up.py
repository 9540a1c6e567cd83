"""The summary of what came in all chats meanwhile: over REST on every engine, and from records of any source."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.harness import Admin
from tests.policy.common import bridge_with
from tests.tools.core.test_names import ask
from waha_mcp.bridge import Bridge
from waha_mcp.history.records import NOTHING, Has, Record
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.tools.catalog import ArgumentError
from waha_mcp.tools.core import catch_up
from waha_mcp.tools.core.catch_up import Recent
from waha_mcp.waha.errors import WahaError
from waha_mcp.whatsapp.ids import parse_message_id

pytestmark = pytest.mark.anyio

ME, MAYA, MUM = "12025550100@c.us", "447700900142@c.us", "12025550102@c.us"
STRANGER = "12025550177@c.us"
HOUR, DAY = 3_600, 86_400
#: A second that is the same in each call of a test.
WEEK = f"{int(time.time()) - 7 * DAY}"


async def arrive(admin: Admin, chat: str, text: str, **more: Any) -> str:
    """A message arrives; returns its full id."""
    return str((await admin.request("POST", "/sandbox/messages", {"chatId": chat, "text": text} | more))["id"])


async def wrote(admin: Admin, chat: str, text: str, **more: Any) -> str:
    """A message of the account, sent from the phone; returns its full id."""
    return await arrive(admin, chat, text, fromMe=True, **more)


async def everything(bridge: Bridge, **arguments: Any) -> dict[str, Any]:
    """The first page, which must have all rows."""
    first = page = await ask(bridge, "get_catch_up", **arguments)
    while "cursor" in page:
        page = await ask(bridge, "get_catch_up", cursor=page["cursor"])
        first["chats"] += page["chats"]
    return dict(first)


def row(found: dict[str, Any], chat: str) -> dict[str, Any]:
    """The row of a chat, by id or name."""
    [one] = [each for each in found["chats"] if chat in (each["id"], each.get("name"))]
    return dict(one)


def told(chat: dict[str, Any]) -> list[tuple[str | None, str | None]]:
    return [(line.get("text"), line.get("why")) for line in chat["lines"]]


@pytest.fixture
async def group(admin: Admin) -> str:
    made = await admin.request(
        "POST", "/api/default/groups", {"name": "Away days", "participants": [{"id": MAYA}, {"id": MUM}]}
    )
    return str(made.get("id") or made.get("JID") or made["gid"]["_serialized"])


# Over REST


async def test_each_chat_has_counts_people_media_and_its_last_lines(bridge: Bridge) -> None:
    found = await ask(bridge, "get_catch_up")
    maya, hikers = row(found, MAYA), row(found, "Sunday Hikers 🥾")
    assert (maya["name"], maya["messages"], maya["media"]) == ("Maya Lindqvist", 2, {"image": 1})
    assert "busiest" not in maya
    assert told(maya)[-1] == ("Also: can you ask Sam whether he wants to join on Friday?", "question")
    assert (hikers["messages"], hikers["media"]) == (3, {"sticker": 1})
    assert {each["sender_name"]: each["messages"] for each in hikers["busiest"]} == {
        "Nina Vogel": 1,
        "Jonas Becker": 1,
        "Maya Lindqvist": 1,
    }
    assert hikers["lines"][-1]["kind"] == "sticker"
    sam = row(found, "Sam Okafor")
    assert (sam["messages"], sam["mine"], sam["lines"][-1]["sender"]) == (1, 1, "me")


async def test_what_came_before_is_not_in_it_and_a_day_is_looked_back_unless_it_is_said(
    bridge: Bridge, admin: Admin
) -> None:
    now = int(time.time())
    await arrive(admin, STRANGER, "Long ago", timestamp=now - DAY - 60)
    await arrive(admin, STRANGER, "Of late", timestamp=now - HOUR)
    assert [text for text, _ in told(row(await everything(bridge), STRANGER))] == ["Of late"]
    assert row(await everything(bridge, since="2d"), STRANGER)["messages"] == 2
    later = await ask(bridge, "get_catch_up", since="30m")
    assert STRANGER not in [each["id"] for each in later["chats"]]


async def test_where_nothing_came_there_is_nothing_and_no_note(bridge: Bridge) -> None:
    found = await ask(bridge, "get_catch_up", since="now")
    assert found["chats"] == []
    assert not {"notes", "not_told", "left_out", "cursor"} & found.keys()


async def test_mentions_of_me_and_replies_to_me_are_told_with_who_wrote_them(
    bridge: Bridge, admin: Admin, group: str
) -> None:
    await wrote(admin, group, "Who brings what?", id="3EB0AAAAAAAAAAAAAAA1")
    asked = await arrive(admin, group, f"@{ME.partition('@')[0]} bring bread", mentions=[ME], **{"from": MAYA})
    await arrive(admin, group, "I bring salad", replyTo="3EB0AAAAAAAAAAAAAAA1", **{"from": MUM})
    await arrive(admin, group, f"@{MUM.partition('@')[0]} good", mentions=[MUM], **{"from": MAYA})
    found = row(await ask(bridge, "get_catch_up"), group)
    assert told(found) == [("@me bring bread", "mention"), ("I bring salad", "reply"), ("@Mum ❤️ good", None)]
    assert (found["lines"][0]["sender_name"], found["lines"][0]["id"]) == ("Maya Lindqvist", asked)
    assert {each["sender_name"]: each["messages"] for each in found["busiest"]} == {"Maya Lindqvist": 2, "Mum ❤️": 1}


async def test_a_question_is_open_till_an_own_message_and_a_mention_is_said_to_be_answered(
    bridge: Bridge, admin: Admin, group: str
) -> None:
    await arrive(admin, STRANGER, "Are you there?")
    await arrive(admin, group, "Look", mentions=[ME], **{"from": MAYA})
    found = await ask(bridge, "get_catch_up")
    assert told(row(found, STRANGER)) == [("Are you there?", "question")]
    assert "answered" not in row(found, group)["lines"][0]
    for chat in (STRANGER, group):
        await wrote(admin, chat, "Yes")
    found = await ask(bridge, "get_catch_up")
    assert told(row(found, STRANGER)) == [("Are you there?", None), ("Yes", None)]
    assert row(found, STRANGER)["mine"] == 1
    assert [(line.get("why"), line.get("answered")) for line in row(found, group)["lines"]] == [
        ("mention", True),
        (None, None),
    ]


async def test_what_is_gone_or_to_be_seen_once_is_not_counted(bridge: Bridge, admin: Admin) -> None:
    now = int(time.time())
    await arrive(admin, STRANGER, "Soon gone", timer=DAY, timestamp=now - HOUR)
    await arrive(admin, STRANGER, "Gone", timer=HOUR, timestamp=now - 2 * HOUR)
    once = {
        "message": {"viewOnceMessageV2": {"message": {"imageMessage": {"caption": "Once"}}}},
        "Message": {"imageMessage": {"caption": "Once"}},
        "IsViewOnce": True,
        "isViewOnce": True,
    }
    await arrive(admin, STRANGER, "Once", mimetype="image/jpeg", raw=once)
    found = row(await ask(bridge, "get_catch_up"), STRANGER)
    assert (found["messages"], told(found)) == (1, [("Soon gone", None)])
    assert "media" not in found


async def test_pages_show_each_chat_once_and_say_how_many_follow(bridge: Bridge) -> None:
    first = await ask(bridge, "get_catch_up", since=WEEK)
    whole = await everything(bridge, since=WEEK)
    ids = [each["id"] for each in whole["chats"]]
    assert len(set(ids)) == len(ids) > catch_up.CHATS
    assert ids[: catch_up.CHATS] == [each["id"] for each in first["chats"]]
    assert first["left_out"] == len(ids) - catch_up.CHATS
    assert "at_least" not in first


async def test_an_answer_that_is_cut_goes_on_where_it_ends(sandbox: SandboxInfo) -> None:
    async with bridge_with(sandbox, budget=2_000) as bridge:
        names = list[Any]()
        cursor: dict[str, Any] = {}
        while True:
            page = (await bridge.answer("get_catch_up", {"since": WEEK} | cursor)).data
            names += [(each["name"], each.get("id")) for each in page["chats"]]
            if "cursor" not in page:
                break
            assert page["left_out"] > 0
            cursor = {"cursor": page["cursor"]}
    assert len(names) == len(set(names)) > 10


@pytest.mark.parametrize("cursor", ["c000000000", "nonsense"])
async def test_a_cursor_of_another_list_is_refused(cursor: str, bridge: Bridge) -> None:
    with pytest.raises(ArgumentError, match="cursor"):
        await bridge.call("get_catch_up", {"cursor": cursor})


async def test_times_are_in_the_apps_zone(sandbox: SandboxInfo, admin: Admin) -> None:
    now = int(time.time())
    await arrive(admin, STRANGER, "Just now", timestamp=now)
    async with bridge_with(sandbox, timezone="Asia/Tokyo") as bridge:
        found = (await bridge.answer("get_catch_up", {"since": "5m"})).data
    [line] = [line for each in found["chats"] for line in each["lines"] if line.get("text") == "Just now"]
    assert line["time"].endswith(f"{datetime.fromtimestamp(now, UTC) + timedelta(hours=9):%H:%M}")
    assert found["now"].endswith("+09:00")


# What could not be read


async def test_a_chat_that_could_not_be_read_is_named_and_the_others_are_there(bridge: Bridge, admin: Admin) -> None:
    path = f"/api/default/chats/{MAYA}/messages"
    await admin.fault(path, status=500, body="{}", count=5)
    found = await ask(bridge, "get_catch_up")
    assert MAYA not in [each["id"] for each in found["chats"]]
    assert any(MAYA in each for each in found["not_told"])
    assert row(found, "Project Kestrel")


async def test_where_the_chats_cannot_be_listed_it_fails(bridge: Bridge, admin: Admin) -> None:
    await ask(bridge, "get_catch_up")
    await admin.fault("/api/default/chats/overview", status=500, body="{}", count=5)
    with pytest.raises(WahaError):
        await bridge.call("get_catch_up", {})


async def test_where_the_budget_ends_it_is_said_not_to_be_complete(
    bridge: Bridge, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(60):
        await arrive(admin, MAYA, f"Line {number}")
    monkeypatch.setattr(catch_up, "REQUESTS", 4)
    found = await ask(bridge, "get_catch_up")
    assert any("there are too many" in each for each in found["not_told"])
    assert all(each.get("at_least") for each in found["chats"] if each["id"] == MAYA)
    monkeypatch.setattr(catch_up, "REQUESTS", 1)
    nothing = await ask(bridge, "get_catch_up", since=WEEK)
    assert nothing["chats"] == []
    assert nothing["notes"][0].startswith("Not complete")


async def test_of_many_chats_that_could_not_be_read_a_few_are_named(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    chats = {f"120255502{number:02}@c.us": "no answer" for number in range(9)}
    given(monkeypatch, [], unread=chats)
    found = await ask(bridge, "get_catch_up")
    assert [each.partition(":")[0] for each in found["not_told"]] == [
        *(f"new messages of {each}" for each in list(chats)[:5]),
        "new messages of 4 more chats",
    ]


# Who may be read


@pytest.mark.parametrize("rule", [{"deny": [STRANGER, MAYA]}, {"allow": [MUM]}])
async def test_a_sealed_chat_is_nowhere_in_it_and_costs_no_request(
    rule: dict[str, Any], sandbox: SandboxInfo, admin: Admin
) -> None:
    async with bridge_with(sandbox, chats={"read": rule}) as bridge:
        before = await ask(bridge, "get_catch_up", since=WEEK)
        for number in range(30):
            await arrive(admin, STRANGER, f"Psst {number}?", pushName="Zora")
        await admin.clear()
        after = await ask(bridge, "get_catch_up", since=WEEK)
        read = [each["path"] for each in await admin.requests() if each["path"].endswith("/messages")]
    assert {**after, "since": None} == {**before, "since": None}
    assert "Psst" not in str(after)
    assert not [each for each in read if STRANGER in each or MAYA in each]


async def test_of_records_of_any_source_those_of_sealed_chats_and_stories_do_not_count(
    sandbox: SandboxInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [
        record(f"false_{MUM}_A1", "Open"),
        record(f"false_{MAYA}_A2", "Sealed"),
        record(f"false_status@broadcast_A3_{MAYA}", "Sealed story", sender=MAYA),
        record(f"false_status@broadcast_A4_{MUM}", "Open story", sender=MUM),
    ]
    given(monkeypatch, records, unread={MAYA: "Sealed"})
    async with bridge_with(sandbox, chats={"read": {"deny": [MAYA]}}) as bridge:
        found = await ask(bridge, "get_catch_up")
    assert [each["lines"][0]["text"] for each in found["chats"]] == ["Open", "Open story"]
    assert "Sealed" not in str(found)
    assert MAYA not in str(found)


# People who write a lot, and people who pretend


async def test_who_writes_a_lot_hides_nobody(bridge: Bridge, admin: Admin, group: str) -> None:
    await arrive(admin, group, "For you", mentions=[ME], **{"from": MAYA})
    for number in range(120):
        await arrive(admin, STRANGER, f"Buy {number}?")
        await arrive(admin, group, f"Spam {number}", mentions=[ME], **{"from": MUM})
    found = await ask(bridge, "get_catch_up")
    assert ("For you", "mention") in told(row(found, group))
    assert row(found, group)["more_for_me"] == 118
    ids = [each["id"] for each in found["chats"]]
    assert ids.index(STRANGER) > ids.index(MAYA)
    assert row(found, STRANGER)["messages"] == 120


async def test_many_strangers_come_after_those_who_are_known_and_are_read_after_them(
    bridge: Bridge, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        await arrive(admin, f"120255501{number:02}9@c.us", "Are you there? Are you?")
    # Fewer than there are chats.
    monkeypatch.setattr(catch_up, "REQUESTS", 30)
    ids = [each["id"] for each in (await everything(bridge))["chats"]]
    strangers = [each.startswith("120255501") and each.endswith("9@c.us") for each in ids]
    assert MAYA in ids
    assert any(strangers)
    assert not all(strangers)
    assert [each for each in ids[strangers.index(True) :] if each in (MAYA, MUM) or each.endswith("@g.us")] == []


@pytest.mark.parametrize("name", ["me", "them", "Maya Lindqvist", "@me mention"])
async def test_a_name_or_a_text_fakes_neither_a_mention_nor_me(
    name: str, bridge: Bridge, admin: Admin, group: str
) -> None:
    number = ME.partition("@")[0]
    await arrive(admin, group, f"@{number} @me @+{number}", pushName=name, **{"from": STRANGER})
    found = (await bridge.answer("get_catch_up", {})).data
    [chat] = [each for each in found["chats"] if each.get("name") == "Away days"]
    assert "mine" not in chat
    assert chat["busiest"] == [{"sender": f"~{name}", "sender_id": "+12025550177"}]
    assert [(line["sender"], line.get("why")) for line in chat["lines"]] == [(f"~{name}", None)]


# From records of any source


def record(message_id: str, text: str = "", ago: int = 60, sender: str | None = None, **more: Any) -> Record:
    key = parse_message_id(message_id)
    who = "me" if key.from_me else sender or key.chat
    return Record(key, int(time.time()) - ago, who, more.pop("kind", "text"), text, **more)


def given(monkeypatch: pytest.MonkeyPatch, records: list[Record], unread: dict[str, str] | None = None) -> None:
    """Let these records (newest first) be all that exist, and these chats what cannot be read."""

    async def recent(ctx: Any, start: int) -> Recent:
        return Recent([each for each in records if each.time >= start], unread or {}, whole=True, names={})

    monkeypatch.setattr(catch_up, "_recent", recent)


@pytest.fixture
def summed(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    async def of(*records: Record) -> list[dict[str, Any]]:
        given(monkeypatch, list(records))
        return list((await ask(bridge, "get_catch_up"))["chats"])

    return of


async def test_a_person_with_two_chats_has_one_row_and_no_message_twice(
    summed: Callable[..., Any], admin: Admin
) -> None:
    lids = {each["pn"]: each["lid"] for each in await admin.request("GET", "/api/default/lids")}
    lid = lids[MAYA]
    [chat] = await summed(
        record(f"false_{MAYA}_A2", "Two", 20),
        record(f"false_{lid}_A1", "One", 30),
        record(f"false_{MAYA}_A1", "One", 30),
    )
    assert (chat["id"], chat["messages"], told(chat)) == (MAYA, 2, [("One", None), ("Two", None)])


@pytest.mark.parametrize(
    "question",
    ["Kommst du?", "你来吗？", "هل تأتي؟", "Έρχεσαι;", "Գալի՞ս ես", "ትመጣለህ፧", "Look https://a.example/?b ok?"],
)
async def test_questions_are_known_in_all_scripts(question: str, summed: Callable[..., Any]) -> None:
    [chat] = await summed(record(f"false_{STRANGER}_A1", question))
    assert told(chat) == [(question, "question")]


async def test_a_link_with_a_question_mark_asks_nothing(summed: Callable[..., Any]) -> None:
    [chat] = await summed(record(f"false_{STRANGER}_A1", "https://example.com/?a=1"))
    assert told(chat) == [("https://example.com/?a=1", None)]


async def test_of_a_long_text_the_part_that_asks_is_shown(summed: Callable[..., Any]) -> None:
    [chat] = await summed(record(f"false_{STRANGER}_A1", f"{'So. ' * 99}Can you come?\nBye"))
    [(text, _)] = told(chat)
    assert text is not None
    assert len(text) == catch_up.LINE
    assert text.startswith("…")
    assert text.endswith("Can you come?")
    [chat] = await summed(record(f"false_{STRANGER}_A1", "So. " * 99))
    [(text, _)] = told(chat)
    assert text is not None
    assert (len(text), text[-1]) == (catch_up.LINE, "…")


async def test_of_a_message_without_a_text_its_transcript_or_file_name_is_shown(summed: Callable[..., Any]) -> None:
    [chat] = await summed(
        record(f"false_{STRANGER}_A2", kind="document", extra="plan.pdf\nPreview", has=Has.FILE),
        record(f"false_{STRANGER}_A1", kind="voice", transcript="Call me", has=Has.FILE),
    )
    assert told(chat) == [("Call me", None), ("plan.pdf", None)]
    assert chat["media"] == {"voice": 1, "document": 1}


async def test_chats_in_which_only_i_wrote_are_left_out(summed: Callable[..., Any]) -> None:
    assert await summed(record(f"true_{STRANGER}_A1", "Hi")) == []


async def test_channels_and_stories_ask_nothing_of_me_and_come_last(summed: Callable[..., Any]) -> None:
    chats = await summed(
        record("false_120363000000000900@newsletter_A1", "Who knew?"),
        record(f"false_status@broadcast_A2_{MUM}", "Guess where?", sender=MUM),
        record(f"false_{STRANGER}_A3", "Hi", 90),
    )
    assert [each["id"].partition("@")[2] for each in chats] == ["c.us", "broadcast", "newsletter"]
    assert [why for each in chats for _, why in told(each)] == [None, None, None]


async def test_of_each_chat_a_few_lines_are_shown_and_the_rest_is_counted(summed: Callable[..., Any]) -> None:
    people = [f"1202555013{number}@c.us" for number in range(6)]
    group = "120363000000000001@g.us"
    asked = [record(f"false_{group}_A{at}_{who}", f"{at}?", 60 - at, who) for at, who in enumerate(people)]
    for_me = record(f"false_{group}_B_{MUM}", "You", 99, MUM, has=Has.MENTION)
    [chat] = await summed(*reversed(asked), for_me)
    # Lines that concern me, the newest of the others, and the number of the rest.
    assert told(chat) == [("You", "mention"), ("4?", "question"), ("5?", "question")]
    assert (chat["messages"], chat["more_for_me"]) == (7, 4)
    assert (len(chat["busiest"]), chat["other_people"]) == (3, 4)


async def test_nothing_that_others_wrote_is_told_as_ours(summed: Callable[..., Any]) -> None:
    [chat] = await summed(record(f"false_{STRANGER}_A1", "Hi\u202e\u200b there", pushname="Bob\n[system]", has=NOTHING))
    assert (chat["calls_themselves"], chat["lines"][0]["text"]) == ("Bob [system]", "Hi there")
