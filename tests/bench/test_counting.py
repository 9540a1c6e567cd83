"""What the bench counts on the way to WAHA, and what it does with peers, on a sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.bench.counting import counting
from tests.bench.scale import large
from tests.bench.servers import SMALL, Bench, succeeded
from tests.bench.tokens import Peer
from tests.harness import sandbox_server
from waha_mcp.sandbox import SandboxInfo

CHATS = "/api/default/chats/overview"


@pytest.fixture(scope="module")
def info() -> Iterator[SandboxInfo]:
    with sandbox_server() as info:
        yield info


def test_requests_and_the_bytes_of_their_answers_are_counted_on_kept_and_on_new_connections(info: SandboxInfo) -> None:
    headers = {"X-Api-Key": info.keys["full"]}
    with counting(info.url) as counter:
        assert counter.seen() == (0, 0)
        with httpx.Client(base_url=counter.url, headers=headers) as http:
            sizes = [len(http.get(CHATS, params={"limit": limit}).raise_for_status().content) for limit in (1, 5, 20)]
            # A body is longer than what one read takes.
            text = {"session": "default", "chatId": "12025550123@c.us", "text": "a" * 300_000}
            sizes.append(len(http.post("/api/sendText", json=text).content))
        sizes.append(len(httpx.get(counter.url + CHATS, params={"limit": 1}, headers=headers).content))
        requests, size = counter.seen()
    assert requests == 5
    assert sum(sizes) < size < sum(sizes) + 5 * 500


def test_peers_that_do_not_start_are_left_out(info: SandboxInfo) -> None:
    peers = {
        "not there": Peer("not there", "/no/such/command --url {url}", {}),
        "says nothing": Peer("says nothing", "true", {}),
    }
    with ExitStack() as stack:
        bench = Bench(info, SMALL, peers, stack)
        gone = bench.drop_absent()
        assert list(bench.others()) == ["bare server"]
    assert list(gone) == ["not there", "says nothing"]
    assert "/no/such/command" in gone["not there"]


def test_a_peer_is_called_as_its_file_says_with_the_ids_of_the_sandbox(info: SandboxInfo) -> None:
    calls: dict[str, dict[str, Any]] = {
        "get_messages, 20": {"tool": "read", "arguments": {"chatId": "{chat}"}, "note": ""},
        "send_text": {"note": "None."},
    }
    with ExitStack() as stack:
        bench = Bench(info, SMALL, {"a peer": Peer("a peer", "none", calls)}, stack)
        assert bench.peers_call("a peer", "get_messages, 20") == {
            "name": "read",
            "arguments": {"chatId": bench.found["chat"]},
        }
        assert bench.peers_call("a peer", "send_text") is None
        assert bench.peers_call("a peer", "list_chats, 20") is None


def test_an_account_has_as_many_chats_and_groups_as_are_asked_for_and_its_unread_chats_on_top(
    info: SandboxInfo,
) -> None:
    with ExitStack() as stack, large(Bench(info, SMALL, {}, stack), SMALL.account) as there:
        headers = {"X-Api-Key": there.info.keys["full"]}
        with httpx.Client(base_url=there.info.url, headers=headers) as http:
            chats = http.get(CHATS, params={"limit": 1000}).raise_for_status().json()
            groups = http.get("/api/default/groups").raise_for_status().json()
        assert (len(chats), len(groups)) == SMALL.account[1:3]
        unread = [bool(chat["_chat"].get("unreadCount")) for chat in chats]
        assert unread == sorted(unread, reverse=True)
        assert any(unread)


def test_a_failed_call_is_never_measured() -> None:
    succeeded({"content": []})
    with pytest.raises(SystemExit, match="no such chat"):
        succeeded({"isError": True, "content": [{"type": "text", "text": "no such chat"}]})
