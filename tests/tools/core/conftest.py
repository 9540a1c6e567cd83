"""Bridges on sandboxes of all engines."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.harness import Admin, app_for
from waha_mcp.bridge import Bridge
from waha_mcp.sandbox import SandboxInfo, running

BROWSERS = [pytest.param(engine, marks=pytest.mark.slow) for engine in ("webjs", "wpp")]

#: Tests of what the browser engines never report: which messages were read, who reacted or voted, what a forward
#: became, and all chats' messages at once.
SOCKETS_ONLY = {
    "test_all_that_is_unread_is_marked_however_many_and_however_old",
    "test_what_is_read_already_is_marked_with_one_request",
    "test_of_a_chat_that_may_not_be_read_neither_answer_nor_requests_tell_how_many_wait",
    "test_what_waha_still_counts_as_unread_is_said",
    "test_senders_mentions_quotes_reactions_and_votes_have_names",
    "test_what_may_be_seen_once_is_not_forwarded",
    "test_a_search_goes_on_where_it_stopped_and_says_how_far_it_looked",
    "test_an_engine_that_cannot_read_all_chats_at_once_is_searched_chat_by_chat",
    "test_neighbours_that_cannot_be_read_are_said_to_be_missing",
}
#: WPP saves no contacts, and filters only what it fetched.
NOT_ON_WPP = {
    "test_a_name_that_was_saved_for_somebody_else_meanwhile_is_theirs",
    "test_a_name_that_was_taken_from_somebody_meanwhile_reaches_nobody",
    "test_names_are_read_anew_after_a_change_whatever_came_of_it",
    "test_a_reader_does_not_wait_while_an_old_table_is_read_anew",
    # It never asks for a filter there.
    "test_a_filter_that_the_engine_refuses_is_applied_here_and_the_answer_says_so",
}


@pytest.fixture(params=["gows", "noweb", *BROWSERS])
async def sandbox(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[SandboxInfo]:
    """A sandbox of each engine."""
    test = request.function.__name__
    if (test in SOCKETS_ONLY and request.param in ("webjs", "wpp")) or (test in NOT_ON_WPP and request.param == "wpp"):
        pytest.skip(f"not on {request.param}")
    async with running(engine=request.param, reply_after=0.05) as info:
        yield info


@pytest.fixture
async def admin(sandbox: SandboxInfo) -> AsyncIterator[Admin]:
    hand = Admin(sandbox)
    yield hand
    await hand.aclose()


@pytest.fixture
async def bridge(sandbox: SandboxInfo) -> AsyncIterator[Bridge]:
    async with Bridge(app_for(sandbox, sandbox.keys["read_send"])) as made:
        yield made
