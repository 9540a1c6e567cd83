"""Parsing of the rows of each of WAHA's lists of people and chats."""

from __future__ import annotations

from typing import Any

import pytest

from tests.people.common import ANN, BEN, CLUB, HIDDEN, ME, Canned, table_of
from waha_mcp.people.parts import Source
from waha_mcp.waha.errors import Refused

pytestmark = pytest.mark.anyio

OTHER_HIDDEN = "990002@lid"

#: A row of a list, and the id and hidden id that it is of.
IDS: list[tuple[Source, dict[str, Any], str, str | None]] = [
    ("contacts", {"id": ANN}, ANN, None),
    ("contacts", {"id": HIDDEN}, HIDDEN, None),
    ("contacts", {"id": ANN, "lid": HIDDEN}, ANN, HIDDEN),
    ("contacts", {"id": HIDDEN, "phoneNumber": ANN}, ANN, HIDDEN),
    ("contacts", {"id": HIDDEN, "phoneNumber": OTHER_HIDDEN}, HIDDEN, None),
    ("contacts", {"id": ANN, "phoneNumber": BEN, "lid": HIDDEN}, ANN, HIDDEN),
    ("chats", {"id": ANN, "lidJid": HIDDEN}, ANN, HIDDEN),
    ("hidden ids", {"lid": HIDDEN, "pn": ANN}, ANN, HIDDEN),
    ("the account", {"id": ME}, ME, None),
    ("the account", {"id": ME, "lid": HIDDEN}, ME, HIDDEN),
    ("the account", {"lid": HIDDEN}, HIDDEN, HIDDEN),
]


def listed(source: Source, row: dict[str, Any]) -> Canned:
    rows = [{"name": Canned.session, "me": row}] if source == "the account" else [row]
    return Canned(**{source.replace(" ", "_"): rows})


@pytest.mark.parametrize(("source", "row", "chat", "lid"), IDS)
async def test_a_row_is_of_the_number_where_it_holds_one(
    source: Source, row: dict[str, Any], chat: str, lid: str | None
) -> None:
    table = table_of(listed(source, row))
    await table.load(source)
    [said] = table.part(source).said
    assert (said.id, said.lid) == (chat, lid)


@pytest.mark.parametrize("field", ["conversationTimestamp", "timestamp", "t"])
async def test_the_time_of_a_chat_is_read_under_the_name_of_each_engine(field: str) -> None:
    table = table_of(Canned(chats=[{"id": CLUB, field: 1_700_000_000}]))
    await table.load("chats")
    assert [said.last_active for said in table.part("chats").said] == [1_700_000_000]


async def test_the_accounts_own_chat_is_a_chat_though_its_contact_is_nobody_to_find() -> None:
    table = table_of(Canned(the_account=[{"name": Canned.session, "me": {"id": ME}}], chats=[{"id": ME, "t": 7}]))
    await table.load()
    assert table.table.get(ME) is not None


async def test_own_ids_that_waha_does_not_tell_are_a_gap_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    table = table_of(Canned(the_account=Refused("no sessions")))
    await table.load("the account")
    assert table.part("the account").gap
    assert "own ids" in caplog.text
