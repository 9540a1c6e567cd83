"""An agent's day: it answers what is unread, finds somebody, searches, reads 200 messages and sends a picture.

The script takes from the answers what a model would take: the ids or names of chats and messages.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.bench.pipe import Pipe

#: Replies to the unread chats of the sandbox, in their order; None: the message needs no answer.
REPLIES = (
    "I'll ask Sam today and tell you tomorrow.",
    "On it, I can review the press text at four.",
    "Thanks, please leave it with the neighbour.",
    "I'm here! Sunday at one works for me.",
    "Hi Anna, we take the offer. Please order the paper.",
    "Great pictures! I can drive, three seats free.",
    "Who are you?",
    None,
)
MESSAGES = 200
#: (calls, tokens written, tokens read) of a part of the day.
Part = tuple[int, int, int]


class Agent:
    """Calls tools and counts the calls and the tokens: what is written (name, arguments) and what is read."""

    def __init__(self, pipe: Pipe, tokens: Callable[[str], int]) -> None:
        self._pipe, self._tokens = pipe, tokens
        self.calls = self.written = self.read = 0

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        result = self._pipe.ask("tools/call", name=name, arguments=arguments)
        text = "\n".join(block["text"] for block in result["content"] if block["type"] == "text")
        self.calls += 1
        self.written += self._tokens(name + json.dumps(arguments, ensure_ascii=False))
        self.read += self._tokens(text)
        if result.get("isError"):
            raise SystemExit(f"{name} {arguments}: {text}")
        answer: dict[str, Any] = json.loads(text)
        return answer


def _chat(row: dict[str, Any]) -> str:
    """What identifies the chat of a row: its id, if it has one."""
    found = next(row[name] for name in ("id", "phone", "name") if name in row)
    return str(found)


def day(agent: Agent, picture: str) -> dict[str, Part]:
    """The parts of the day: (calls, tokens written, tokens read) of each. `picture`: a file's name in the outbox."""
    parts: dict[str, Part] = {}

    def part(name: str) -> None:
        before = [sum(each) for each in zip(*parts.values(), strict=True)] or [0, 0, 0]
        now = (agent.calls, agent.written, agent.read)
        parts[name] = (now[0] - before[0], now[1] - before[1], now[2] - before[2])

    chats = agent.call("get_unread")["chats"]
    for row, reply in zip(chats, REPLIES, strict=True):
        if reply is None:
            agent.call("mark_read", chat=_chat(row))
        else:
            agent.call("send_text", chat=_chat(row), text=reply)
    part(f"answer {len(chats)} unread chats")

    priya = _chat(agent.call("find_chats", query="priya")["chats"][0])
    part("find somebody")

    agent.call("search_messages", query="lease")
    part("search")

    chat = _chat(chats[0])
    page = agent.call("get_messages", chat=chat, limit=100)
    read = len(page["messages"])
    while read < MESSAGES:
        page = agent.call("get_messages", chat=chat, limit=min(100, MESSAGES - read), cursor=page["cursor"])
        read += len(page["messages"])
    part(f"read {MESSAGES} messages of a chat")

    agent.call("send_media", chat=priya, kind="image", path=picture, caption="The view from the office this morning")
    part("send a picture")
    return parts
