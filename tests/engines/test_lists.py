"""Rows of the engines other than messages: groups, contacts, chats, hidden ids and presence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from tests.engines.corpus import ENGINES, Case, answer, cases, lacks
from waha_mcp.people.parts import _READ, Said, Source
from waha_mcp.tools.contacts import _hidden_id
from waha_mcp.tools.presence import _presence_from
from waha_mcp.waha.chat_rows import chat_from
from waha_mcp.waha.messages import NOBODY, message_from
from waha_mcp.waha.models import contact_from, group_from, has_letters
from waha_mcp.waha.parsing import chat_id_of, kind_of_chat


def shown(result: BaseModel | None) -> str:
    return "" if result is None else json.dumps(result.model_dump(mode="json", exclude_none=True), ensure_ascii=False)


def missing(case: Case, text: str) -> list[str]:
    """The parts of `says` that are missing; a number may be written in another way."""
    digits = re.sub(r"\D", "", text)
    return [
        each
        for each in lacks(case, text)
        if any(map(str.isalpha, each)) or not (number := re.sub(r"\D", "", each)) or number not in digits
    ]


def said(source: Source, case: Case) -> Said | None:
    return _READ[source](case.row)


def ids(case: Case) -> str:
    return str(case)


GROUPS = [case for case in cases("groups") if case.row]


@pytest.mark.parametrize("case", GROUPS, ids=ids)
def test_a_group_shows_all_that_a_person_would_see_of_it(case: Case) -> None:
    group = group_from(case.row)
    assert missing(case, shown(group)) == []
    assert not [each for each in case.hides if each in shown(group)]
    assert group is not None
    assert group.id == chat_id_of(case.row.get("id") or case.row.get("JID"))
    if "GroupCreated" in case.row or "creation" in json.dumps(case.row):
        zero = str(case.row.get("GroupCreated")).startswith("0001")
        assert group.created is None if zero else (group.created or "").startswith("20")


@pytest.mark.parametrize("case", GROUPS, ids=ids)
def test_the_members_of_a_group_are_counted_where_the_engine_lists_or_counts_them(case: Case) -> None:
    raw = json.dumps(case.row)
    group = group_from(case.row)
    assert group is not None
    listed = case.row.get("groupMetadata", case.row)
    members = listed.get("participants") or listed.get("Participants") or []
    count = len(members) or case.row.get("size") or case.row.get("ParticipantCount") or None
    assert group.participants == (count - raw.count('"Error": 403') if count else None)


@pytest.mark.parametrize("case", GROUPS, ids=ids)
def test_who_created_a_group_and_its_subject_are_in_the_table_of_people(case: Case) -> None:
    row = said("groups", case)
    assert row is not None
    fields = case.row.get("groupMetadata", case.row)
    owners = {chat_id_of(fields.get(name)) for name in ("owner", "ownerPn", "OwnerJID", "OwnerPN")} - {None}
    assert set(row.creators) == owners
    assert missing(Case(case.engine, case.file, case.case, "", case.says[:1], (), None, None), row.name or "") == []


@pytest.mark.parametrize("case", [case for case in cases("contacts") if case.row], ids=ids)
def test_a_contact_shows_its_names_and_its_number(case: Case) -> None:
    contact, row = contact_from(case.row), said("contacts", case)
    person = kind_of_chat(chat_id_of(case.row["id"]) or "") == "person"
    assert (row is not None) is person
    assert (contact is not None) is (person and case.row.get("isMe") is not True)
    if contact is not None:
        assert missing(case, shown(contact)) == []
        assert row is not None
        assert row.saved is (contact.saved is True and contact.name is not None)


@pytest.mark.parametrize("case", [case for case in cases("chats") if case.row], ids=ids)
def test_a_chat_brings_its_name_and_the_time_of_its_last_message_to_the_table_of_people(case: Case) -> None:
    row = said("chats", case)
    assert (row is None) is (kind_of_chat(chat_id_of(case.row["id"]) or "") == "status")
    if row is not None:
        # Other content is in the row's last message, which is not parsed here.
        assert missing(Case(case.engine, case.file, case.case, "", case.says[:1], (), None, None), str(row)) == []
        told = case.row.get("conversationTimestamp") or case.row.get("timestamp") or case.row.get("t")
        assert row.last_active == float(told or 0)


@pytest.mark.parametrize("case", cases("overview"), ids=ids)
def test_a_chat_of_the_overview_shows_its_name_its_state_and_all_that_is_read_of_its_last_message(case: Case) -> None:
    chat = chat_from(case.row)
    assert chat is not None
    text, last = shown(chat), answer(message_from(case.row.get("lastMessage") or {}, chat=chat.id))
    assert set(missing(case, text)) <= set(missing(case, last))
    assert not [each for each in case.hides if each in text and each not in last]
    name = case.row.get("name") or ""
    # If nobody has a name, WEBJS gives the number.
    assert name in text or not has_letters(name)
    state = case.row["_chat"]
    assert chat.archived is (True if "archived chat" in case.case else None)
    assert chat.marked_unread is (True if "marked as unread" in case.case else None)
    assert chat.unread == (max(state["unreadCount"], 0) if "unreadCount" in state else None)


@pytest.mark.parametrize("case", [case for case in cases("lids") if "lid" in case.row], ids=ids)
def test_a_hidden_id_shows_the_number_where_it_is_known_and_is_no_pair_without(case: Case) -> None:
    pair = _hidden_id(case.row)
    assert missing(case, shown(pair)) == []
    assert (pair.lid, pair.chat) == (case.row["lid"], case.row["pn"])
    row = said("hidden ids", case)
    assert (row.pair if row else None) == ((pair.lid, pair.chat) if pair.lid and pair.chat else None)


@pytest.mark.parametrize("case", cases("presence"), ids=ids)
def test_presence_shows_everybody_with_their_state_and_when_they_were_last_seen(case: Case) -> None:
    found = _presence_from(case.row, NOBODY)
    assert found is not None
    assert missing(case, shown(found)) == []
    assert found.chat == case.row["id"]
    rows = case.row["presences"]
    assert [each.state for each in found.people] == [row.get("lastKnownPresence") for row in rows]
    assert [each.last_seen is not None for each in found.people] == [row["lastSeen"] is not None for row in rows]


def damaged(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Copies of a row in which one field is missing, null, of another type or nested more deeply."""
    for name, value in row.items():
        yield {field: each for field, each in row.items() if field != name}
        others: tuple[Any, ...] = (
            None,
            True,
            False,
            -1,
            1e30,
            "x",
            "",
            [],
            [None],
            [[]],
            {},
            {"x": None},
            [value],
            {name: value},
        )
        for other in others:
            yield {**row, name: other}
    for name in ("groupMetadata", "_chat"):
        if isinstance(row.get(name), dict):
            yield from ({**row, name: inner} for inner in damaged(row[name]))


READERS: dict[str, tuple[Callable[[Any], BaseModel | Said | None], ...]] = {
    "groups": (group_from, _READ["groups"]),
    "contacts": (contact_from, _READ["contacts"]),
    "chats": (_READ["chats"],),
    "overview": (lambda row: chat_from({**row, "lastMessage": None}),),
    "lids": (_hidden_id, _READ["hidden ids"]),
}


@pytest.mark.parametrize("file", READERS)
@pytest.mark.parametrize("engine", ENGINES)
def test_no_damage_to_a_row_is_an_error_and_what_is_read_of_it_can_be_written(engine: str, file: str) -> None:
    for case in cases(file, engine):
        for row in damaged(case.row or {}):
            for read in READERS[file]:
                found = read(row)
                if isinstance(found, BaseModel):
                    json.dumps(found.model_dump(mode="json"), allow_nan=False)


def test_a_contact_of_noweb_under_its_hidden_id_is_a_pair_with_its_number() -> None:
    case = next(case for case in cases("contacts", "noweb") if case.case == "contact under a hidden id")
    row = said("contacts", case)
    assert row is not None
    assert (row.pair, row.id) == (("990003@lid", "12025550103@c.us"), "12025550103@c.us")
