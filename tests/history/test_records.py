"""The record of a message for searching, made from the rows of the four engines."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from tests.engines.corpus import ENGINES, cases
from tests.harness import Admin
from waha_mcp.history.records import NOTHING, Has, Record, record_from
from waha_mcp.sandbox import running
from waha_mcp.waha.parsing import listing

ME = frozenset({"12025550100@c.us", "990000@lid"})
ANN, BEN, GROUP = "12025550101@c.us", "12025550102@c.us", "120363000000000001@g.us"
STRANGER = "12025550177@c.us"
#: Earlier than all of the payloads.
LONG_AGO = 1_600_000_000
DAY = 86_400


@pytest.fixture
def long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """No payload has expired."""
    monkeypatch.setattr("waha_mcp.history.records.time", SimpleNamespace(time=lambda: LONG_AGO))


def record(data: dict[str, Any] | None = None, **fields: Any) -> Record | None:
    """The record of a row, written by Ann in her own chat unless `fields` say otherwise."""
    row = {"id": f"false_{ANN}_A1", "timestamp": time.time(), "from": ANN, "fromMe": False, "body": "Hi"}
    return record_from(row | fields | ({"_data": data} if data is not None else {}), ME)


def found(data: dict[str, Any] | None = None, **fields: Any) -> Record:
    made = record(data, **fields)
    assert made is not None
    return made


def of_case(engine: str, case: str) -> Record | None:
    [row] = [each.row for each in cases("messages", engine) if each.case == case]
    return record_from(row, ME)


# What is no record


@pytest.mark.usefixtures("long_ago")
@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_to_be_viewed_once_is_never_a_record(engine: str) -> None:
    once = [each for each in cases("messages", engine) if each.kind.startswith("view-once")]
    assert once
    assert [str(each) for each in once if record_from(each.row, ME) is not None] == []


@pytest.mark.usefixtures("long_ago")
@pytest.mark.parametrize("engine", ENGINES)
def test_what_nobody_wrote_is_no_record(engine: str) -> None:
    kinds = {"missed call", "pinned", "unpinned", "kept", "timer changed", "member added", "status mention"}
    silent = [each for each in cases("messages", engine) if each.kind in kinds and not each.says]
    assert silent
    assert [str(each) for each in silent if record_from(each.row, ME) is not None] == []


@pytest.mark.parametrize(
    "data",
    [
        {"messageStubType": 1, "message": None},
        {"Info": {"Edit": "7", "ID": "A1"}, "Message": {"conversation": "secret"}},
        {"type": "revoked", "body": "secret"},
        {"message": {"viewOnceMessageV2": {"message": {"imageMessage": {"caption": "secret"}}}}},
        {"Message": {"imageMessage": {"caption": "secret"}}, "IsViewOnceV2": True},
        {"type": "image", "isViewOnce": True, "caption": "secret"},
        {"message": {"reactionMessage": {"text": "", "key": {"id": "B"}}}},
    ],
)
def test_what_was_deleted_is_to_be_viewed_once_or_says_nothing_is_no_record(data: dict[str, Any]) -> None:
    assert record(data, body=None) is None


@pytest.mark.parametrize(
    "fields",
    [{"id": None}, {"id": "A1"}, {"timestamp": None}, {"timestamp": 0}, {"timestamp": "soon"}],
)
def test_a_row_without_an_id_that_names_its_chat_or_without_a_time_is_no_record(fields: dict[str, Any]) -> None:
    assert record(**fields) is None


def _timed(seconds: int) -> dict[str, dict[str, Any]]:
    body = {"extendedTextMessage": {"text": "Hi", "contextInfo": {"expiration": seconds}}}
    browser = {"type": "chat", "body": "Hi", "ephemeralDuration": seconds}
    return {
        "NOWEB": {"message": {"ephemeralMessage": {"message": body}}},
        "GOWS": {"Message": body, "IsEphemeral": True},
        "WEBJS": browser | {"isEphemeral": True},
        "WPP": browser,
    }


@pytest.mark.parametrize("engine", ["NOWEB", "GOWS", "WEBJS", "WPP"])
def test_a_disappearing_message_is_a_record_till_it_does(engine: str) -> None:
    sent = int(time.time()) - DAY
    assert found(_timed(DAY + 60)[engine], timestamp=sent).expires == sent + DAY + 60
    assert record(_timed(DAY)[engine], timestamp=sent) is None
    assert found(timestamp=sent).expires is None


@pytest.mark.anyio
@pytest.mark.parametrize("engine", ["noweb", "gows", "webjs", "wpp"])
async def test_a_timer_comes_over_http_as_each_engine_tells_it(engine: str) -> None:
    now = int(time.time())
    async with running(engine=engine) as info:
        admin = Admin(info)
        wish = {"chatId": STRANGER, "text": "Soon gone", "timer": DAY}
        await admin.request("POST", "/sandbox/messages", wish | {"timestamp": now - 60})
        await admin.request("POST", "/sandbox/messages", wish | {"timestamp": now - DAY - 60})
        await admin.request("POST", "/sandbox/messages", wish | {"text": "Stays", "timer": 0})
        rows = listing(await admin.request("GET", f"/api/default/chats/{STRANGER}/messages?limit=10"), "messages")
        await admin.aclose()
    records = [each for row in rows if (each := record_from(row, ME)) is not None]
    assert {(each.text, each.expires) for each in records} == {("Soon gone", now - 60 + DAY), ("Stays", None)}


# What a record holds


@pytest.mark.usefixtures("long_ago")
@pytest.mark.parametrize("engine", ENGINES)
def test_all_words_of_a_text_are_among_the_lines_of_its_record(engine: str) -> None:
    for case in cases("messages", engine):
        made = record_from(case.row, ME)
        if made is not None:
            told, body = " ".join("\n".join(made.lines()).split()), " ".join(str(case.row.get("body")).split())
            assert [each for each in map(_one_line, case.says) if each in body and each not in told] == [], str(case)


def _one_line(words: str) -> str:
    return " ".join(words.split())


@pytest.mark.parametrize(
    ("data", "fields", "kind", "text", "extra", "has"),
    [
        (None, {}, "text", "Hi", "", NOTHING),
        (None, {"body": "See https://example.com/a"}, "text", "See https://example.com/a", "", Has.LINK),
        (None, {"body": "www.example.com"}, "text", "www.example.com", "", Has.LINK),
        (
            {"message": {"documentMessage": {"fileName": "plan.pdf", "caption": "Sign it"}}},
            {"body": "Sign it"},
            "document",
            "Sign it",
            "plan.pdf",
            Has.FILE,
        ),
        ({"type": "ptt", "mimetype": "audio/ogg"}, {"body": None, "hasMedia": True}, "voice", "", "", Has.FILE),
        (
            {"Message": {"pollCreationMessageV3": {"name": "When?", "options": [{"optionName": "Noon"}]}}},
            {"body": "When?"},
            "poll",
            "When?",
            "Noon",
            NOTHING,
        ),
        (
            {"message": {"contactMessage": {"vcard": "BEGIN:VCARD\nVERSION:3.0\nFN:Otto\nORG:Quay\nEND:VCARD"}}},
            {"body": None},
            "contact",
            "",
            "Otto\nQuay",
            NOTHING,
        ),
        (
            {
                "message": {
                    "extendedTextMessage": {"text": "Look", "matchedText": "https://a.example", "title": "Tides"}
                }
            },
            {"body": "Look"},
            "text",
            "Look",
            "Tides",
            NOTHING,
        ),
    ],
)
def test_a_record_has_the_text_and_beside_it_all_other_lines(
    data: dict[str, Any] | None, fields: dict[str, Any], kind: str, text: str, extra: str, has: Has
) -> None:
    made = found(data, **fields)
    assert (made.kind, made.text, made.extra, made.has) == (kind, text, extra, has)


def _mentioning(*ids: str) -> list[dict[str, Any]]:
    jids = [each.replace("@c.us", "@s.whatsapp.net") for each in ids]
    return [
        {"message": {"extendedTextMessage": {"text": "@1", "contextInfo": {"mentionedJid": jids}}}},
        {"Message": {"extendedTextMessage": {"text": "@1", "contextInfo": {"mentionedJID": jids}}}},
        {"type": "chat", "body": "@1", "mentionedJidList": [{"_serialized": each} for each in ids]},
    ]


@pytest.mark.parametrize("own", sorted(ME))
def test_a_mention_is_one_of_the_account_by_its_number_or_its_hidden_id(own: str) -> None:
    assert [found(data).has for data in _mentioning(BEN, own)] == [Has.MENTION] * 3
    assert [found(data).has for data in _mentioning(BEN)] == [NOTHING] * 3


def test_a_number_in_the_text_is_no_mention() -> None:
    assert found(body="@12025550100 are you there").has == NOTHING


def _quoting(author: str) -> list[dict[str, Any]]:
    jid, quoted = author.replace("@c.us", "@s.whatsapp.net"), {"conversation": "Before"}
    context = {"participant": jid, "quotedMessage": quoted}
    return [
        {"message": {"extendedTextMessage": {"text": "Hi", "contextInfo": {"stanzaId": "B"} | context}}},
        {"Message": {"extendedTextMessage": {"text": "Hi", "contextInfo": {"stanzaID": "B"} | context}}},
        {
            "type": "chat",
            "quotedMsg": {"type": "chat", "body": "Before"},
            "quotedStanzaID": "B",
            "quotedParticipant": {"_serialized": author},
        },
    ]


@pytest.mark.parametrize("own", sorted(ME))
def test_a_quote_is_a_reply_to_the_account_where_it_wrote_what_is_quoted(own: str) -> None:
    assert [found(data).has for data in _quoting(own)] == [Has.QUOTE | Has.REPLY] * 3
    assert [found(data).has for data in _quoting(BEN)] == [Has.QUOTE] * 3


def test_the_words_of_a_quote_are_not_its_own() -> None:
    assert [found(data).lines() for data in _quoting(BEN)] == [["Hi"]] * 3


@pytest.mark.parametrize(
    "data",
    [
        {"message": {"editedMessage": {"message": {"conversation": "now"}}}},
        {"Message": {"conversation": "now"}, "IsEdit": True},
        {"type": "chat", "body": "now", "latestEditMsgKey": {"id": "x"}},
    ],
)
def test_an_edited_message_has_its_new_text(data: dict[str, Any]) -> None:
    made = found(data, body="now")
    assert (made.text, made.has) == ("now", Has.EDITED)


@pytest.mark.parametrize(
    ("fields", "chat", "sender"),
    [
        ({}, ANN, ANN),
        ({"id": f"true_{ANN}_A1", "fromMe": True}, ANN, "me"),
        ({"id": f"false_{GROUP}_A1_{BEN}", "from": GROUP, "participant": BEN}, GROUP, BEN),
        ({"id": f"false_{GROUP}_A1_77@lid", "from": GROUP, "participant": "77@lid"}, GROUP, "77@lid"),
        ({"id": f"true_{GROUP}_A1_{min(ME)}", "from": GROUP, "fromMe": True, "participant": min(ME)}, GROUP, "me"),
        (
            {"id": f"false_status@broadcast_A1_{BEN}", "from": "status@broadcast", "participant": BEN},
            "status@broadcast",
            BEN,
        ),
        ({"id": "false_77@lid_A1", "from": "77@lid"}, "77@lid", "77@lid"),
        ({"id": f"false_{GROUP}_A1_{BEN}", "from": GROUP}, GROUP, GROUP),
    ],
)
def test_a_record_says_in_which_chat_it_is_and_who_wrote_it(fields: dict[str, Any], chat: str, sender: str) -> None:
    made = found(**fields)
    assert (made.chat, made.sender, made.id) == (chat, sender, made.key.text)


def test_of_own_messages_the_chosen_name_is_left_out() -> None:
    assert found({"pushName": "Ann R"}).pushname == "Ann R"
    assert found({"Info": {"PushName": "Me"}}, id=f"true_{ANN}_A1", fromMe=True).pushname is None


@pytest.mark.usefixtures("long_ago")
@pytest.mark.parametrize("engine", ENGINES)
def test_each_record_of_an_engine_has_a_time_a_chat_and_an_author(engine: str) -> None:
    made = [each for case in cases("messages", engine) if (each := record_from(case.row, ME)) is not None]
    assert len(made) > 100
    assert all(
        each.time > LONG_AGO and each.chat and each.sender and each.key.from_me is (each.sender == "me")
        for each in made
    )
