"""The query language over WAHA's REST API: what is found, its ranking and neighbours, and what is not shown."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.harness import Admin, app_for
from tests.tools.core.test_names import MAYA, ask
from tests.tools.core.test_reading_back import all_answers, all_pages
from waha_mcp.bridge import Bridge
from waha_mcp.policy import Refusal
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.tools.catalog import ArgumentError

pytestmark = pytest.mark.anyio

SAM, KESTREL, HIKERS = "12025550123@c.us", "Project Kestrel", "Sunday Hikers 🥾"
ALL = "/api/default/chats/all/messages"


async def found(bridge: Bridge, query: str, **arguments: Any) -> list[dict[str, Any]]:
    hits: list[dict[str, Any]] = (await ask(bridge, "search_messages", query=query, limit=100, **arguments))["hits"]
    return hits


async def write(admin: Admin, text: str, chat: str = MAYA, **more: Any) -> str:
    sent = await admin.request("POST", "/sandbox/messages", {"chatId": chat, "text": text} | more)
    return str(sent["id"])


# The language


async def test_the_chats_and_people_in_a_query_are_named_as_in_arguments(bridge: Bridge) -> None:
    for query, arguments in {
        'the in:"project kestrel"': {"query": "the", "chat": KESTREL},
        f"the in:{MAYA}": {"query": "the", "chat": MAYA},
        'the from:"Maya Lindqvist"': {"query": "the", "sender": MAYA},
        'the from:"+44 7700 900142" after:30d': {"query": "the", "sender": MAYA, "since": "30d"},
    }.items():
        hits = await found(bridge, query)
        assert hits
        assert hits == (await ask(bridge, "search_messages", limit=100, **arguments))["hits"]


async def test_fields_of_one_name_widen_and_those_with_a_minus_leave_out(bridge: Bridge) -> None:
    def chats(hits: list[dict[str, Any]]) -> set[str]:
        return {hit["chat_name"] for hit in hits}

    both = await found(bridge, f'the in:"{KESTREL}" in:"{HIKERS}"')
    assert chats(both) == {KESTREL, HIKERS}
    everywhere = await found(bridge, "the after:30d")
    without = await found(bridge, f'the after:30d -in:"{KESTREL}"')
    assert without == [hit for hit in everywhere if hit.get("chat_name") != KESTREL] != everywhere
    mine = await found(bridge, "the after:30d from:me")
    others = await found(bridge, "the after:30d -from:me")
    assert mine + others != others != everywhere
    assert sorted(hit["id"] for hit in mine + others) == sorted(hit["id"] for hit in everywhere)


async def test_the_answers_short_id_of_a_chat_may_stand_in_a_query(bridge: Bridge) -> None:
    groups = (await bridge.answer("list_groups", {})).data["groups"]
    [group] = [each["id"] for each in groups if each["subject"] == KESTREL]
    assert await found(bridge, f"the in:{group}") == await found(bridge, f'the in:"{KESTREL}"')
    with pytest.raises(ArgumentError, match="query: in: m799086624 stands for a message"):
        await found(bridge, "the in:m799086624")


async def test_without_words_it_is_a_window_of_time_over_all_chats(bridge: Bridge) -> None:
    hits = await found(bridge, "after:2d before:now")
    assert len({hit["chat"] for hit in hits}) > 3
    assert [hit["time"] for hit in hits] == sorted((hit["time"] for hit in hits), reverse=True)
    photos = await found(bridge, "kind:image after:365d")
    assert {hit["kind"] for hit in photos} == {"image"}


async def test_a_mention_is_found_and_shown_by_name_and_by_number(bridge: Bridge, admin: Admin) -> None:
    await write(admin, "Ask @447700900142 about zyzzyva", SAM)
    for query in ("zyzzyva maya", "zyzzyva @447700900142", "zyzzyva"):
        [hit] = await found(bridge, query)
        assert hit["text"] == "Ask @Maya Lindqvist about zyzzyva"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ('""', "query: has no word to search for"),
        ("form:maya", "query: form: is not a field; did you mean from:"),
        ("lunch after:soon", "query: after:soon: must be a date"),
        ("kind:foto", "query: kind:foto: must be one of text"),
        ("in:Zzyzx", "query: in: 'Zzyzx' is nobody's name here"),
        ('-from:"Zzyzx Q"', "query: from: 'Zzyzx Q' is nobody's name here"),
        (f'from:"{KESTREL}"', "query: from: nobody goes by exactly the name"),
        ("x" * 501, "query: up to 500 characters"),
    ],
)
async def test_what_a_query_gets_wrong_is_said_with_what_would_be_right(query: str, said: str, bridge: Bridge) -> None:
    with pytest.raises(ArgumentError, match=said.replace("(", r"\(")):
        await found(bridge, query)


async def test_the_account_is_me_by_whatever_it_is_named(bridge: Bridge) -> None:
    mine = await found(bridge, "the after:30d from:me")
    assert mine
    [own, *_] = sorted(bridge.directory.me, reverse=True)
    for more in ({"query": f"the after:30d from:{own}"}, {"query": "the after:30d", "sender": own}):
        assert (await ask(bridge, "search_messages", limit=100, **more))["hits"] == mine


async def test_a_query_and_an_argument_that_name_different_chats_are_refused(bridge: Bridge) -> None:
    with pytest.raises(ArgumentError, match="in: names others than chat"):
        await found(bridge, f'the in:"{KESTREL}"', chat=MAYA)
    with pytest.raises(ArgumentError, match="from: names others than sender"):
        await found(bridge, "the from:me", sender=MAYA)
    assert await found(bridge, f'the in:"{KESTREL}" in:{MAYA}', chat=MAYA) == await found(bridge, "the", chat=MAYA)


@pytest.mark.parametrize("cursor", ["W10", "WyJzZWFyY2giLFtdXQ", "WyJzZWFyY2giLFsiYWxsIiwxXV0"])
async def test_a_damaged_cursor_is_said_to_be_one(cursor: str, bridge: Bridge) -> None:
    with pytest.raises(ArgumentError, match="cursor: "):
        await found(bridge, "the", cursor=cursor)


@pytest.mark.parametrize("query", ['"' * 199, "(a+)+$ " * 20, "'; DROP TABLE messages; --", "%_*?[]", "\\", "- -- -"])
async def test_a_hostile_query_finds_nothing_or_is_refused(query: str, bridge: Bridge) -> None:
    try:
        hits = await found(bridge, query)
    except ArgumentError as error:
        hits = []
        assert str(error).startswith("query: ")  # noqa: PT017 - which of both it is, is no matter
    assert hits == []


# Order


@pytest.mark.slow
async def test_by_relevance_what_fits_best_comes_first_and_pages_have_no_gaps(bridge: Bridge, admin: Admin) -> None:
    texts = ["the zyzzyva beetle", "zyzzyvas and beetles", "a beetle\nof the zyzzyva kind", "zyzzyva beetle"]
    now = int(time.time())
    for number, text in enumerate(texts):
        await write(admin, text, timestamp=now - 100 + number)
    hits = await found(bridge, "zyzzyva beetle", order="relevance")
    assert [hit["text"] for hit in hits[:2]] == ["zyzzyva beetle", "the zyzzyva beetle"]
    assert len(hits) == len(texts)
    pages = await all_pages(bridge, "search_messages", "hits", query="zyzzyva beetle", order="relevance", limit=1)
    assert [hit["id"] for hit in pages] == [hit["id"] for hit in hits]
    newest = await found(bridge, "zyzzyva beetle")
    assert [hit["id"] for hit in newest] == [hit["id"] for hit in sorted(hits, key=lambda hit: hit["time"])[::-1]]


async def test_what_was_ranked_of_a_part_is_said_to_be_so(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waha_mcp.history.rest_records.PAGE", 50)
    monkeypatch.setattr("waha_mcp.tools.core.search.REQUESTS", 2)
    first = await ask(bridge, "search_messages", query="the", order="relevance", limit=100)
    assert "These are the best of what was looked at." in first["notes"]
    monkeypatch.setattr("waha_mcp.tools.core.search.REQUESTS", 25)
    whole = await found(bridge, "the", order="relevance")
    pages = await all_pages(bridge, "search_messages", "hits", query="the", order="relevance", limit=100)
    assert len(pages) == len({hit["id"] for hit in pages}) >= len(whole)


# Neighbours


async def test_a_hit_is_shown_with_its_neighbours(bridge: Bridge, admin: Admin) -> None:
    now = int(time.time()) - 1_000
    for number in range(7):
        await write(admin, "needle" if number == 3 else f"hay {number}", timestamp=now + number)
    [hit] = await found(bridge, "needle", context=2, chat=MAYA)
    assert [each["text"] for each in hit["before"]] == ["hay 1", "hay 2"]
    assert [each["text"] for each in hit["after"]] == ["hay 4", "hay 5"]
    assert {each["sender"] for each in hit["before"]} == {MAYA}
    assert "before" not in (await found(bridge, "needle", chat=MAYA))[0]


async def test_no_message_is_shown_twice_among_hits_and_neighbours(bridge: Bridge, admin: Admin) -> None:
    now = int(time.time()) - 1_000
    for number in range(6):
        await write(admin, f"needle {number}" if number in (1, 2, 4) else f"hay {number}", timestamp=now + number)
    hits = await found(bridge, "needle", context=2, chat=MAYA)
    shown = [each["text"] for hit in hits for each in (*hit.get("before", ()), hit, *hit.get("after", ()))]
    assert len(shown) == len(set(shown))
    assert {f"hay {number}" for number in (0, 3, 5)} <= set(shown)


async def test_the_neighbours_of_many_hits_are_bounded(bridge: Bridge, admin: Admin) -> None:
    await admin.clear()
    answer = await ask(bridge, "search_messages", query="the", context=1, limit=50)
    assert len([hit for hit in answer["hits"] if "before" in hit or "after" in hit]) <= 10
    assert "Only the first 10 hits have their neighbours" in " ".join(answer["notes"])
    assert len([r for r in await admin.requests() if r["path"].endswith("/messages")]) <= 25 + 20


async def test_neighbours_that_cannot_be_read_are_said_to_be_missing(bridge: Bridge, admin: Admin) -> None:
    await found(bridge, "friday")
    await admin.fault(f"/api/default/chats/{MAYA}/messages", status=500, count=100)
    answer = await ask(bridge, "search_messages", query="friday", context=1)
    assert answer["hits"]
    assert "Not all neighbours could be read" in " ".join(answer["notes"])


# What may not be read

QUERIES = [
    "zyzzyva",
    "after:yesterday",
    "kind:text -nothing after:yesterday",
    "from:me zyzzyva",
    "-from:me zyzzyva",
    "has:link after:yesterday",
    '"zyzzyva secret"',
    "maya zyzzyva",
    "447700900142 after:yesterday",
]


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.slow
async def test_what_is_said_in_a_sealed_chat_changes_no_answer(
    at_once: bool, sandbox: SandboxInfo, admin: Admin
) -> None:
    app = app_for(sandbox, sandbox.keys["read"], chats={"read": {"deny": [MAYA]}})
    await write(admin, "zyzzyva of a friend, see @447700900142", SAM)
    await write(admin, "here", MAYA)
    async with Bridge(app) as bridge:

        async def asked() -> list[Any]:
            answers: list[Any] = []
            # Which chats are the most recent is known in both cases.
            bridge.people.expire()
            await bridge.call("find_chats", {"query": "sam"})
            for query in QUERIES:
                for more in ({}, {"order": "relevance", "context": 2, "limit": 2}):
                    if not at_once:
                        # Once with the filter, and once without.
                        await admin.fault(ALL, status=501, body="{}", count=2)
                    answers.append(await ask(bridge, "search_messages", query=query, **more))
            return answers

        before = await asked()
        assert any(answer["hits"] for answer in before)
        for own in (False, True):
            await write(admin, "zyzzyva secret https://a.example", MAYA, fromMe=own)
        assert await asked() == before
        for answer in before:
            assert MAYA not in {hit["chat"] for hit in answer["hits"]}
        assert "zyzzyva of a friend, see @447700900142" in str(before)
        assert "@Maya" not in str(before)


@pytest.mark.parametrize("query", ["x in:{}", "x -in:{}", "x from:{}", "x -from:{}"])
@pytest.mark.parametrize("whom", [MAYA, "+447700900142"])
async def test_a_sealed_chat_in_a_query_is_refused_as_one_in_an_argument(
    query: str, whom: str, sandbox: SandboxInfo
) -> None:
    app = app_for(sandbox, sandbox.keys["read"], chats={"read": {"deny": [MAYA]}})
    async with Bridge(app) as bridge:
        with pytest.raises(Refusal) as in_query:
            await found(bridge, query.format(whom))
        with pytest.raises(Refusal) as in_argument:
            await found(bridge, "x", chat=whom)
        assert str(in_query.value) == str(in_argument.value)


async def test_the_pages_of_several_chats_are_read_one_by_one_and_lose_nothing(bridge: Bridge, admin: Admin) -> None:
    for number in range(6):
        for chat in (MAYA, SAM):
            await write(admin, f"needle {number}", chat)
    query = f"needle in:{MAYA} in:{SAM}"
    hits = await all_answers(bridge, "search_messages", "hits", query=query, limit=5)
    assert len(hits) == len({hit["id"] for hit in hits}) == 12
