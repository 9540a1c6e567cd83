"""The bytes of a listing and of answers, compared with WAHA's own."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.bench.calls import CHATS
from tests.bench.servers import Bench, succeeded
from tests.bench.table import Row, Section
from tests.bench.tokens import model_visible, read_by_model

LISTING, OF_RAW = 10_240, 0.25


def sizes(bench: Bench) -> Section:
    """Of the listing by the key's actions, and of answers."""
    section = Section(
        "Bytes", ["Of a listing: what a model sees, and all of it. Of an answer: its text, and WAHA's answer."]
    )
    for key in ("read", "send", "read_send"):
        pipe = bench.waha_mcp(WAHA_API_KEY=bench.info.keys[key])
        tools = pipe.ask("tools/list")["tools"]
        pipe.close()
        seen, whole = (_bytes(each) for each in (model_visible(tools), tools))
        cells = {"waha-mcp": f"{seen:,} B", "in all": f"{whole:,} B"}
        all_core = key == "read_send"
        aim, met = (f"<= {LISTING:,} B", seen <= LISTING) if all_core else ("", None)
        section.rows.append(Row(f"listing, {key}: {len(tools)} tools", cells, None, aim, met))
    _answers(bench, section)
    return section


def _bytes(data: Any) -> int:
    return len(json.dumps(data, ensure_ascii=False).encode())


def _answers(bench: Bench, section: Section) -> None:
    chat = bench.found["chat"]
    messages = f"/api/default/chats/{chat}/messages"
    pairs: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
        "list_chats": ({"limit": 20}, CHATS, {"limit": 20}),
        "get_unread": ({}, CHATS, {"limit": 100}),
        "find_chats": ({"query": "maya"}, "/api/contacts/all", {"session": "default"}),
        "search_messages": (
            {"query": "friday"},
            "/api/default/chats/all/messages",
            {"limit": 600, "downloadMedia": "false"},
        ),
        "list_groups": ({"limit": 20}, "/api/default/groups", {"limit": 20}),
        "get_messages": ({"chat": chat, "limit": 50}, messages, {"limit": 50, "downloadMedia": "false"}),
    }
    pipe = bench.waha_mcp()
    headers = {"X-Api-Key": bench.info.keys["full"]}
    with httpx.Client(base_url=bench.info.url, headers=headers) as http:
        for tool, (arguments, path, params) in pairs.items():
            answer = pipe.ask("tools/call", name=tool, arguments=arguments)
            succeeded(answer)
            ours = len(read_by_model(answer).encode())
            raw = len(http.get(path, params=params).raise_for_status().content)
            limit = f", {arguments['limit']}" if "limit" in arguments else ""
            cells = {"waha-mcp": f"{ours:,} B", "WAHA": f"{raw:,} B", "ratio": f"{ours / raw:.0%}"}
            section.rows.append(Row(f"{tool}{limit}", cells, None, f"<= {OF_RAW:.0%}", ours / raw <= OF_RAW))
    pipe.close()
