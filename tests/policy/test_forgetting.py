"""Forgetting a chat: the data kept about it is deleted, the data that limits an App stays."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.harness import Admin, opened_store
from tests.memory_store import Memory
from tests.policy.common import DAD, MAYA, SAM, bridge_with, lid_of
from tests.tools.core.test_attachments import message_of
from waha_mcp.history.index import Index
from waha_mcp.history.index_rows import Newest
from waha_mcp.history.records import Has, Record, Sieve
from waha_mcp.indexing import index_path
from waha_mcp.places import state_root
from waha_mcp.policy import Refusal, approval, forgetting, saved_files
from waha_mcp.policy.audit import Trail, trail_path
from waha_mcp.policy.forgetting import Chats, forget, without
from waha_mcp.policy.kill_switch import pause, paused
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.tools.catalog import ArgumentError
from waha_mcp.tools.references import References
from waha_mcp.whatsapp.ids import MessageKey, parse_phone

pytestmark = pytest.mark.anyio

GROUP, OLD_GROUP = "120363000000000000@g.us", "12025550123-1400000000@g.us"
TEXT = {"chat": SAM, "text": "Between us"}


# Which lines

SPELLINGS = [
    SAM,
    "+12025550123",
    "+1 202 555 0123",
    "tel:+1-(202)-555.0123",
    "0012025550123",
    "1\u2011202\u20115550123",
    f"false_{SAM}_3EB0C767D26A1B2E5F4C",
    f"false_{GROUP}_3EB0C767D26A1B2E5F4C_{SAM}",
]
OTHERS = [
    DAD,
    "112025550123@c.us",
    "120255501234@c.us",
    OLD_GROUP,
    GROUP,
    "+1 202 555 01",
    "2025-11-28T12:02:55.501+23",
]


@pytest.mark.parametrize("text", SPELLINGS[:4] + SPELLINGS[5:])
def test_a_person_is_found_in_any_spelling(text: str) -> None:
    assert Chats([SAM]).in_text(json.dumps({"chat": text}, ensure_ascii=False))


@pytest.mark.parametrize(
    "text",
    ["0012025550123", "00 1 202 555 0123", "+１２０２５５５０１２３", "+١٢٠٢٥٥٥٠١٢٣", "+1\u200e202\u200e5550123"],
)
def test_a_person_is_found_in_every_form_in_which_a_number_is_taken(text: str) -> None:
    assert parse_phone(text) == SAM.partition("@")[0]
    assert Chats([SAM]).in_text(json.dumps({"chat": text}, ensure_ascii=False))


@pytest.mark.parametrize("text", OTHERS)
def test_somebody_else_is_not(text: str) -> None:
    assert not Chats([SAM]).in_text(json.dumps({"chat": text}))


def test_a_group_is_found_by_its_id_alone() -> None:
    assert Chats([GROUP]).in_text(f'["{GROUP}"]')
    assert Chats([OLD_GROUP]).in_text(f'["{OLD_GROUP}"]')
    assert not Chats([GROUP]).in_text('["120363000000000001@g.us"]')
    assert not Chats(["1400000000@g.us"]).in_text(f'["{OLD_GROUP}"]')
    assert not Chats(["status@broadcast"]).in_text('["mystatus@broadcast"]')


def test_chats_are_told_by_their_ids() -> None:
    some = Chats([SAM, MAYA])
    assert some.has(SAM)
    assert some.has(MAYA)
    assert not some.has(DAD)
    assert Chats(None).has(DAD)
    assert Chats(None).in_text("anything")
    assert not Chats(None).named_in("anything")


# What becomes of a line

LINE: dict[str, Any] = {
    "time": "2026-11-28T09:00:00.000+00:00", "call": "aabbccddeeff", "client": "agent 1", "tool": "send_text",
    "chats": [SAM], "digest": "d" * 64, "decision": "allowed", "outcome": "done", "message_id": f"true_{SAM}_3EB0",
    "ms": 12.5, "arguments": {"chat": SAM, "text": "Between us"},
}  # fmt: skip


def forgotten(line: dict[str, Any], chats: Chats) -> dict[str, Any]:
    text = without(json.dumps(line, separators=(",", ":")), chats)
    parsed: dict[str, Any] = json.loads(text) if text else {}
    return parsed


@pytest.mark.parametrize("chats", [Chats([SAM]), Chats(None)], ids=["one", "all"])
def test_a_line_keeps_when_who_asked_which_tool_and_how_it_ended(chats: Chats) -> None:
    kept = {name: LINE[name] for name in ("time", "call", "client", "tool", "decision", "outcome", "ms")}
    assert forgotten(LINE, chats) == kept | {"forgotten": True}
    again = json.dumps(forgotten(LINE, chats), separators=(",", ":"))
    assert without(again, chats) == again


def test_lines_of_others_and_lines_that_name_nobody_stay() -> None:
    line = json.dumps(LINE)
    assert without(line, Chats([DAD])) == line
    bare = json.dumps({"time": "t", "call": "c", "tool": "list_chats", "decision": "allowed", "outcome": "done"})
    assert without(bare, Chats(None)) == bare
    switch = json.dumps({"time": "t", "client": "waha-mcp pause", "decision": "paused by the user", "of": "all Apps"})
    assert without(switch, Chats(None)) == switch


def test_what_an_agent_wrote_in_place_of_a_tool_goes_too() -> None:
    wrong = {"tool": "tell +1 202 555 0123 that it is over", "decision": "not offered", "outcome": "refused"}
    assert forgotten(wrong, Chats([SAM])) == {"decision": "not offered", "outcome": "refused", "forgotten": True}
    assert forgotten({"tool": "our", "decision": "not offered"}, Chats(None)) == {"decision": "not offered"}
    named = {"client": "agent of +1 202 555 0123", "tool": "send_text"}
    assert forgotten(named, Chats([SAM])) == {"tool": "send_text", "forgotten": True}


def test_a_torn_line_goes_whole_and_no_line_becomes_longer() -> None:
    assert without(f'{{"chats":["{SAM}"],"argum', Chats([SAM])) == '{"forgotten":true}'
    assert without('{"a":"', Chats(None)) == "{}"
    assert without("x", Chats(None)) == ""
    assert without('{"a":"bb","ms":1}', Chats(None)) == '{"ms":1}'


# The whole


async def lines(app_id: str = "default") -> list[dict[str, Any]]:
    return [json.loads(line) for line in trail_path(app_id).read_text().splitlines() if line.strip()]


async def test_what_is_kept_of_a_chat_goes_and_that_of_others_stays(
    sandbox: SandboxInfo, admin: Admin, tmp_path: Path
) -> None:
    async with bridge_with(sandbox, audit="text") as bridge:
        bridge.app = bridge.app.model_copy(update={"downloads": tmp_path / "downloads"})
        await bridge.call("send_text", TEXT)
        await bridge.call("send_text", TEXT | {"chat": MAYA})
        saved = []
        for chat, kind in ((SAM, "voice"), (MAYA, "image")):
            wish = {"message_id": await message_of(bridge, chat, kind), "save": True}
            saved.append(Path((await bridge.call("get_media", wish)).saved))  # type: ignore[attr-defined]
    async with bridge_with(sandbox, approval="send") as bridge:
        for chat in (SAM, MAYA):
            with pytest.raises(Refusal, match="waiting"):
                await bridge.call("send_text", {"chat": chat, "text": "To be asked"})
    store = opened_store()
    done = forget(store, Chats([SAM, await lid_of(admin, SAM)]), None)
    assert (done.questions, done.sent_messages, done.problems) == (1, 1, [])
    assert done.first_contacts >= 1
    assert done.trail_lines >= 4
    assert done.saved_files == [str(saved[0])]
    assert [path.exists() for path in saved] == [False, True]
    texts = [line.get("arguments", {}).get("text") for line in await lines() if line["outcome"] == "done"]
    assert texts.count("Between us") == 1
    assert all(MAYA in line["chats"] for line in await lines() if "chats" in line)
    assert (await lines())[-1]["decision"] == "forgotten by the user"
    assert [entry.question.recipients for entry in approval.waiting()] != []
    assert len(approval.waiting()) == 1
    rows = [row.key for row in store.rows("met")]
    assert not any(row.endswith(SAM) for row in rows)
    assert any(row.endswith(MAYA) for row in rows)
    assert forget(store, Chats([SAM]), None).trail_lines == 0


async def test_the_guard_and_the_pace_and_a_pause_are_not_lifted(sandbox: SandboxInfo) -> None:
    pace = {"total": "", "chat": "1/hour", "first_contacts": "", "gap": [0, 0]}
    async with bridge_with(sandbox, pace=pace) as bridge:
        await bridge.call("send_text", TEXT)
        before = {table: opened_store().rows(table) for table in ("attempt", "account")}
        pause(opened_store(), "another")
        forget(opened_store(), Chats(None), None)
        assert {table: opened_store().rows(table) for table in ("attempt", "account")} == before
        with pytest.raises(Refusal, match="The same was done"):
            await bridge.call("send_text", TEXT)
        with pytest.raises(Refusal, match="limit of 1 per hour to one chat"):
            await bridge.call("send_text", TEXT | {"text": "Another"})
    assert paused(opened_store(), "another") is not None


async def test_references_to_what_is_forgotten_stand_for_nothing() -> None:
    store = opened_store()
    references = References("assistant", SecretStr("key_sample_0000"), store)
    ids = [f"false_{chat}_3EB0C767D26A1B2E5F4C" for chat in (SAM, MAYA)]
    short = await references.shorten([("m", each) for each in ids])
    forget(store, Chats([SAM]), None)
    again = References("assistant", SecretStr("key_sample_0000"), store)
    with pytest.raises(ArgumentError, match="was not given by any answer"):
        await again.expand("m", short["m", ids[0]], "message_id")
    assert await again.expand("m", short["m", ids[1]], "message_id") == ids[1]


async def test_of_one_app_only_its_own_goes_and_nothing_that_apps_share(
    sandbox: SandboxInfo, admin: Admin, tmp_path: Path
) -> None:
    for app_id in ("one", "two"):
        Trail(app_id).write_now({"chats": [SAM], "outcome": "done", "tool": "send_text"})
        saved_files.remember(opened_store(), app_id, str(tmp_path / app_id), SAM)
        (tmp_path / app_id).write_text("x")
    opened_store().swap("met", f"+12025550100/{SAM}", None, "")
    done = forget(opened_store(), Chats([SAM]), "one")
    assert (done.trail_lines, done.first_contacts, done.saved_files) == (1, 0, [str(tmp_path / "one")])
    assert (await lines("two"))[0]["chats"] == [SAM]
    assert opened_store().get("met", f"+12025550100/{SAM}") is not None
    assert forget(opened_store(), Chats([SAM]), "three").trail_lines == 0
    assert not (state_root() / "three").exists()


def test_all_older_files_of_a_trail_are_rewritten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waha_mcp.policy.audit.MAX_BYTES", 400)
    for number in range(12):
        Trail("one").write_now({"chats": [SAM if number % 2 else DAD], "outcome": "done", "tool": f"tool_{number:040}"})
    assert len(list((state_root() / "one").glob("trail.jsonl*"))) > 2
    assert forget(opened_store(), Chats([SAM]), None).trail_lines == 6
    left = b"".join(path.read_bytes() for path in (state_root() / "one").iterdir())
    assert SAM.encode() not in left
    assert left.count(DAD.encode()) == 6


def test_what_was_deleted_is_no_longer_in_the_file() -> None:
    secret = "SECRET-OF-THE-QUESTION"
    store = opened_store()
    store.swap("question", "one/d", None, json.dumps({"text": secret, "to": SAM}))
    store.close()
    assert secret.encode() in (state_root() / "store.sqlite").read_bytes()
    assert forget(store, Chats([SAM]), None).questions == 1
    store.close()
    assert not any(secret.encode() in path.read_bytes() for path in state_root().glob("store.*"))


def old_question(app_id: str) -> Path:
    """A question as 0.1.0 kept it."""
    path = state_root() / app_id / "approvals" / "0123456789ab.waiting.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"question": {"recipients": ["Sam"], "content": {"text": "Between us"}}}')
    return path


def test_the_questions_that_0_1_0_left_in_files_go_whomever_they_are_about() -> None:
    one, two = old_question("one"), old_question("two")
    forget(opened_store(), Chats([DAD]), "one")
    assert (one.parent.exists(), two.exists()) == (False, True)
    done = forget(opened_store(), Chats(None), None)
    assert (two.parent.exists(), done.questions, done.problems) == (False, 0, [])


def test_questions_in_files_that_cannot_be_deleted_are_told_and_the_rest_goes(tmp_path: Path) -> None:
    old_question("one").parent.rename(tmp_path / "elsewhere")
    (state_root() / "one" / "approvals").symlink_to(tmp_path / "elsewhere")
    opened_store().swap("sent", f"one/{SAM}/3EB0", None, "")
    done = forget(opened_store(), Chats([SAM]), None)
    assert done.problems == ["App 'one': questions of 0.1.0 cannot be deleted: Cannot call rmtree on a symbolic link"]
    assert (done.sent_messages, len(list((tmp_path / "elsewhere").iterdir()))) == (1, 1)


# Saved files


def test_a_file_that_is_gone_or_replaced_by_a_link_is_let_go_and_one_that_cannot_be_deleted_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Memory()
    for name in ("gone", "link", "held"):
        saved_files.remember(store, "one", str(tmp_path / name), SAM)
    saved_files.remember(store, "one", str(tmp_path / "held"), MAYA)
    saved_files.remember(store, "one", str(tmp_path / "held"), SAM)
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "held").write_text("x")

    def refuse(path: Path) -> None:
        raise PermissionError(13, os.strerror(13))

    with monkeypatch.context() as held:
        held.setattr(Path, "unlink", refuse)
        assert saved_files.forget(store, "", lambda chat: True) == (
            [], [f"{tmp_path / 'held'} cannot be deleted: Permission denied"],
        )  # fmt: skip
    assert (tmp_path / "link").is_symlink()
    assert [row.key for row in store.rows("saved")] == [f"one/{tmp_path / 'held'}"]
    assert saved_files.forget(store, "two/", lambda chat: True) == ([], [])
    assert saved_files.forget(store, "one/", lambda chat: chat == SAM) == ([str(tmp_path / "held")], [])
    assert store.rows("saved") == []


def test_only_so_many_saved_files_are_kept_in_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_files, "MOST_SAVED", 10)
    store = Memory()
    for number in range(11):
        saved_files.remember(store, "one", f"/{number}", SAM)
    assert len(store.rows("saved")) <= 10


def test_a_trail_that_cannot_be_rewritten_is_told_and_the_rest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    Trail("one").write_now({"chats": [SAM], "outcome": "done"})
    opened_store().swap("sent", f"one/{SAM}/3EB0", None, "")

    def refuse(app_id: str, chats: Chats) -> int:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(forgetting, "_forget_lines", refuse)
    done = forget(opened_store(), Chats([SAM]), None)
    assert done.problems == ["the trail of App 'one' cannot be rewritten: Permission denied"]
    assert done.sent_messages == 1


# The index


def record(number: int, chat: str, sender: str, time: int = 1_700_000_000) -> Record:
    """A message with this number in its id; in a group its sender is the participant."""
    participant = sender if chat.endswith("@g.us") else None
    key = MessageKey(False, chat, f"{number:020X}", participant)
    return Record(key, time, sender, "text", f"word{number}", "", Has(0), None, None, "")


def indexed(records: Iterable[Record]) -> Index:
    """The index of the App `work` with these messages."""
    index = Index(index_path("work", "+12025550100"))
    index.add(records)
    return index


def senders(index: Index) -> set[str]:
    sieve = Sieve(words=(), chats=None, senders=None, kinds=None, has=Has(0), since=None, until=None)
    return {found.record.sender for found in index.search(sieve, most=100)}


def test_what_a_person_wrote_in_groups_is_forgotten_with_their_chat() -> None:
    with closing(indexed([record(1, SAM, SAM), record(2, GROUP, SAM), record(3, GROUP, MAYA)])) as index:
        done = forget(Memory(), Chats([SAM]), None)
        assert (done.indexed_messages, done.problems) == (2, [])
        assert senders(index) == {MAYA}
        # Not from WAHA again either, but for what is new.
        assert index.add([record(1, SAM, SAM), record(2, GROUP, SAM)]) == 0
        assert index.add([record(4, GROUP, SAM, 4_000_000_000)]) == 1
        assert index.check() is None


def test_who_is_not_indexed_yet_is_not_indexed_after_they_were_forgotten() -> None:
    with closing(indexed([record(3, GROUP, MAYA)])) as index:
        assert forget(Memory(), Chats([SAM]), None).indexed_messages == 0
        assert index.add([record(1, SAM, SAM), record(2, GROUP, SAM), record(4, GROUP, MAYA)]) == 1
        index.look([Newest(SAM, 1_700_000_000, None)], heard=False, oldest=None)
        assert index.gaps() == []


def test_of_all_chats_nothing_older_is_indexed_again() -> None:
    with closing(indexed([record(1, SAM, SAM), record(2, GROUP, MAYA)])) as index:
        done = forget(Memory(), Chats(None), None)
        assert (done.indexed_messages, done.problems) == (2, [])
        assert senders(index) == set()
        assert index.add([record(3, DAD, DAD), record(1, SAM, SAM)]) == 0
        index.look([Newest(DAD, 1_700_000_000, None)], heard=False, oldest=None)
        assert index.gaps() == []
        assert index.add([record(4, DAD, DAD, 4_000_000_000)]) == 1


def test_one_apps_index_is_forgotten_alone() -> None:
    with closing(indexed([record(1, SAM, SAM)])) as index:
        assert forget(Memory(), Chats([SAM]), "other").indexed_messages == 0
        assert senders(index) == {SAM}


def test_damaged_indexes_are_deleted_with_what_they_hold() -> None:
    with closing(indexed([record(1, SAM, SAM)])) as index:
        aside = index.path.with_name(f"{index.path.name}.damaged-20260101T000000Z")
        aside.write_text("word1")
        forget(Memory(), Chats([MAYA]), None)
        assert not aside.exists()
        assert senders(index) == {SAM}


def test_an_index_that_cannot_be_read_is_a_problem() -> None:
    path = index_path("work", "+12025550100")
    path.mkdir()
    [problem] = forget(Memory(), Chats([SAM]), None).problems
    assert problem.startswith(f"the index of App 'work' is left as it is: The index {path} cannot be used")
