"""`python -m tests.bench.tokens`: what answers and listings cost a model: tokens (o200k) of what a host shows it.

`--table docs/tokens.md` writes the counts into the page; test_tokens.py checks later counts against it.

`--peer NAME=COMMAND` counts another server as well, with `{url}` and `{key}` in its command. `--calls NAME=FILE` has
how its tools are called and what was read in their answers: JSON of {row: {"tool"?, "arguments"?, "note"}}, with
`{chat}`, `{message}` and `{picture}` (ids of Maya Lindqvist's chat, its newest message and picture) in the arguments.

`--before CHECKOUT` counts an agent's day, with the waha-mcp in that folder and with this one.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from tests.bench.day import Agent, Part, day
from tests.bench.pipe import Pipe
from tests.clock import CLOCK, ZONE
from tests.harness import command_after, sandbox_server
from tests.tables import ROOT, commit_of, made_on, put
from waha_mcp.app.actions import Action
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.sandbox.sample_files import jpeg

#: How much a count may be above the committed one.
ALLOWED = 1.03
MAYA = "Maya Lindqvist"
CONTACTS = "get_contacts, 50: % of WAHA's raw bytes"
VISIBLE = "core tools as a model sees them"
#: Tools and arguments, with placeholders as in the calls of a peer.
ANSWERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "list_chats, 20": ("list_chats", {"limit": 20}),
    "get_messages, 20": ("get_messages", {"chat": MAYA, "limit": 20}),
    "get_unread": ("get_unread", {}),
    "get_catch_up, a day": ("get_catch_up", {}),
    "get_contacts, 50": ("get_contacts", {"limit": 50}),
    "list_groups": ("list_groups", {}),
    "find_chats": ("find_chats", {"query": "maya"}),
    "search_messages": ("search_messages", {"query": "friday"}),
    "get_status": ("get_status", {}),
    "get_media, the text beside the picture": ("get_media", {"message_id": "{picture}"}),
    "react": ("react", {"message_id": "{message}", "emoji": "👍"}),
    "send_text": ("send_text", {"chat": MAYA, "text": "See you on Friday!"}),
    "get_updates, nothing happened": ("get_updates", {}),
    "error: nobody of the name": ("send_text", {"chat": "Maja Lindquist", "text": "See you on Friday!"}),
    "error: wrong arguments": ("send_text", {"to": MAYA, "message": "See you on Friday!"}),
}
AIMS = {
    "list_chats, 20": 650,
    "get_messages, 20": 1000,
    "get_unread": 900,
    "get_catch_up, a day": 1100,
    CONTACTS: 60,
    "get_updates, nothing happened": 60,
    VISIBLE: 2000,
    "core tools in all, with annotations": 4500,
}
#: The rows of peers, in which a tool of theirs does the same.
COMPARED = [name for name in ANSWERS if not name.startswith(("error", "get_status", "get_updates", "get_catch_up"))]


@cache
def _encoding() -> Any:
    with warnings.catch_warnings():
        # It opens its table with a deprecated function.
        warnings.simplefilter("ignore", DeprecationWarning)
        import bpe_openai

        return bpe_openai.get_encoding("o200k_base")


def tokens(text: str) -> int:
    """The tokens of a text."""
    return len(_encoding().encode(text))


def json_tokens(data: Any) -> int:
    """The tokens of JSON without blanks."""
    return tokens(json.dumps(data, ensure_ascii=False, separators=(",", ":")))


def read_by_model(result: dict[str, Any]) -> str:
    """The text of an answer."""
    return "\n".join(block["text"] for block in result["content"] if block["type"] == "text")


def model_visible(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The part of a listing that hosts pass on to a model."""
    return [{name: tool[name] for name in ("name", "description", "inputSchema") if name in tool} for tool in tools]


@contextmanager
def serving(info: SandboxInfo, *arguments: str, **env: str) -> Iterator[Pipe]:
    """`waha-mcp serve` on the sandbox, at the fixed time, with a state folder of its own."""
    with tempfile.TemporaryDirectory() as state:
        values = {"WAHA_URL": info.url, "WAHA_API_KEY": info.keys["full"], "XDG_STATE_HOME": state} | ZONE | env
        pipe = Pipe([*command_after(CLOCK), "serve", *arguments], **values)
        try:
            yield pipe
        finally:
            pipe.close()


def measured() -> dict[str, int]:
    """The count of each row."""
    rows: dict[str, int] = {}
    with sandbox_server(first=CLOCK) as info:
        with serving(info) as pipe:
            found: dict[str, str] = {}
            for row, (tool, arguments) in ANSWERS.items():
                answer = pipe.ask("tools/call", name=tool, arguments=filled(arguments, found))
                text = read_by_model(answer)
                if bool(answer.get("isError")) != row.startswith("error"):
                    raise SystemExit(f"{row}: {text}")
                rows[row] = tokens(text)
                if tool == "get_messages":
                    messages = json.loads(text)["messages"]
                    pictures = [each["id"] for each in messages if each.get("kind") == "image"]
                    found = {"message": messages[0]["id"], "picture": pictures[0]}
                if tool == "get_contacts":
                    rows[CONTACTS] = round(100 * len(text.encode()) / _raw_contacts(info))
            rows |= _listing(pipe, VISIBLE, "core tools in all, with annotations")
            rows["instructions"] = tokens(pipe.greeting["instructions"])
        with serving(info, "--toolsets", "all", WAHA_ACTIONS=",".join(Action)) as pipe:
            rows |= _listing(pipe, "all tools as a model sees them", "all tools in all, with annotations")
    return rows


def _listing(pipe: Pipe, visible: str, whole: str) -> dict[str, int]:
    tools = pipe.ask("tools/list")["tools"]
    return {visible: json_tokens(model_visible(tools)), whole: json_tokens(tools)}


def _raw_contacts(info: SandboxInfo) -> int:
    return len(_waha(info, "/api/contacts/all", session="default").content)


def _waha(info: SandboxInfo, path: str, **params: Any) -> httpx.Response:
    return httpx.get(info.url + path, params=params, headers={"X-Api-Key": info.keys["full"]}).raise_for_status()


def filled(value: Any, found: Mapping[str, str]) -> Any:
    """Arguments with the placeholders replaced by what was found."""
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda match: found.get(match[1], match[0]), value)
    if isinstance(value, dict):
        return {name: filled(each, found) for name, each in value.items()}
    return value


# The gate


def committed(page: str) -> dict[str, int]:
    """The counts in a page's table."""
    section = page.partition(BEGIN)[2].partition(END)[0]
    return {
        match[1]: int(match[2].replace(",", "")) for match in re.finditer(r"^\| (.+?) \| ([\d,]+) \|", section, re.M)
    }


def above(rows: Mapping[str, int], allowed: Mapping[str, int]) -> list[str]:
    """The rows that cost over 3 % more than the committed count or are not in the table, as text."""
    return [
        f"{name}: {count:,}, and {allowed[name]:,} in the table" if name in allowed else f"{name}: not in the table"
        for name, count in rows.items()
        if name not in allowed or count > allowed[name] * ALLOWED
    ]


# Peers


@dataclass(frozen=True)
class Peer:
    """Another server. `calls` says for each row how its tool is called, and what was found in the answer."""

    name: str
    command: str
    calls: Mapping[str, dict[str, Any]]


def add_peers(parser: argparse.ArgumentParser) -> None:
    """The options that name other servers, and how they are called."""
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--calls", action="append", default=[], metavar="NAME=FILE")


def peers_of(chosen: argparse.Namespace) -> list[Peer]:
    """The servers that those options name."""
    files = dict(each.split("=", 1) for each in chosen.calls)
    return [
        Peer(name, command, json.loads(Path(files[name]).read_text(encoding="utf-8")))
        for name, command in (each.split("=", 1) for each in chosen.peer)
    ]


def measured_peer(peer: Peer) -> dict[str, str]:
    """The cell of each row that it has, and of the listing."""
    with sandbox_server(first=CLOCK) as info, tempfile.TemporaryDirectory() as home:
        command = filled(peer.command, {"url": info.url, "key": info.keys["full"]})
        pipe = Pipe(shlex.split(command), HOME=home, **ZONE)
        try:
            found = ids_of(info)
            tools = pipe.ask("tools/list")["tools"]
            cells = {VISIBLE: f"{json_tokens(model_visible(tools)):,} ({len(tools)} tools)"}
            for row, call in peer.calls.items():
                if "tool" in call:
                    arguments = filled(call["arguments"], found)
                    answer = pipe.ask("tools/call", name=call["tool"], arguments=arguments)
                    cells[row] = "an error" if answer.get("isError") else f"{tokens(read_by_model(answer)):,}"
            return cells
        finally:
            pipe.close()


def ids_of(info: SandboxInfo) -> dict[str, str]:
    chats = _waha(info, "/api/default/chats/overview", limit=100).json()
    chat = next(each["id"] for each in chats if each["name"] == MAYA)
    messages = _waha(info, f"/api/default/chats/{chat}/messages", limit=20, downloadMedia="true").json()
    picture = next(each["id"] for each in messages if (each.get("media") or {}).get("mimetype") == "image/jpeg")
    return {"chat": chat, "message": messages[0]["id"], "picture": picture}


def peers_section(rows: Mapping[str, int], peers: list[Peer]) -> str:
    """The figures of peers next to ours, with how they were called and what their answers lack."""
    cells = [measured_peer(peer) for peer in peers]
    ours = {name: f"{count:,}" for name, count in rows.items()}
    lines = [
        "## Beside two other servers for WAHA",
        "",
        "The same sandbox, chats and messages. The contents are not equal: what answers leave out or get wrong is "
        f"listed below, with the call of each tool. {made_on()}.",
        "",
        f"| | waha-mcp | {' | '.join(peer.name for peer in peers)} |",
        f"|---|---|{'---|' * len(peers)}",
    ]
    # Each once: those of ours that every server may have, then further rows of peers.
    for row in dict.fromkeys([*COMPARED, *(row for peer in peers for row in peer.calls), VISIBLE]):
        figures = [each.get(row, "–") for each in (ours, *cells)]
        lines.append(f"| {'tools as a model sees them' if row == VISIBLE else row} | {' | '.join(figures)} |")
    for peer in peers:
        lines += ["", f"{peer.name}:", ""]
        for row, call in peer.calls.items():
            how = f"`{call['tool']} {json.dumps(call['arguments'], ensure_ascii=False)}`. " if "tool" in call else ""
            lines.append(f"- {row}: {how}{call['note']}")
    return "\n".join(lines)


# A day

ALL = "**all**"


def measured_day(checkout: Path = ROOT) -> dict[str, Part]:
    """The parts of the day: (calls, tokens written, tokens read), the listing and instructions first.

    `checkout`: the folder whose waha-mcp runs.
    """
    with (
        sandbox_server("--messages", "3000", first=CLOCK) as info,
        tempfile.TemporaryDirectory() as folder,
    ):
        outbox = Path(folder) / "outbox"
        outbox.mkdir()
        (outbox / "view.jpg").write_bytes(jpeg())
        app = Path(folder) / "day.toml"
        app.write_text(
            f'id = "day"\nurl = "{info.url}"\noutbox = "{outbox}"\napproval = "never"\n'
            '[pace]\ntotal = ""\nchat = ""\nfirst_contacts = ""\ngap = [0, 0]\n'
        )
        env = {"WAHA_API_KEY": info.keys["full"], "XDG_STATE_HOME": folder} | ZONE
        there = f"import os\nos.chdir({str(checkout)!r})\n"
        pipe = Pipe([*command_after(there + CLOCK), "serve", "--app", str(app)], **env)
        try:
            tools = model_visible(pipe.ask("tools/list")["tools"])
            greeting = json_tokens(tools) + tokens(pipe.greeting["instructions"])
            return {"the tools and instructions, once": (0, 0, greeting)} | day(Agent(pipe, tokens), "view.jpg")
        finally:
            pipe.close()


def day_section(before: Mapping[str, Part], now: Mapping[str, Part], commit: str) -> str:
    """The day's parts with another waha-mcp, of that commit, and with this one."""
    lines = [
        "## An agent's day",
        "",
        "A script that takes ids from the answers as a model does, on an account of 3,000 messages: it answers what is "
        "unread, finds somebody, searches all messages for a word, reads 200 messages of a chat and sends a picture. "
        f"Written: names and arguments of its calls; read: answers. Before: commit {commit}. {made_on()}.",
        "",
        "| | before: calls | written | read | now: calls | written | read | tokens |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in [*now, ALL]:
        old, new = (_sum(parts) if name == ALL else parts[name] for parts in (before, now))
        figures = " | ".join(f"{each:,}" for each in (*old, *new))
        lines.append(f"| {name} | {figures} | {(new[1] + new[2]) / (old[1] + old[2]):.0%} |")
    return "\n".join(lines)


def _sum(parts: Mapping[str, Part]) -> Part:
    calls, written, read = (sum(column) for column in zip(*parts.values(), strict=True))
    return calls, written, read


# The page

BEGIN, END = "<!-- tokens: generated by python -m tests.bench.tokens -->", "<!-- tokens: end -->"
PEERS = ("<!-- peers: generated by python -m tests.bench.tokens --peer -->", "<!-- peers: end -->")
DAY = ("<!-- day: generated by python -m tests.bench.tokens --before -->", "<!-- day: end -->")


def section(rows: Mapping[str, int]) -> str:
    """The table of our own counts with the aims."""
    lines = [
        "## Answers and listings",
        "",
        f"One run; others give the same counts. {made_on()}.",
        "",
        "| | count | aim | |",
        "|---|---|---|---|",
    ]
    for name, count in rows.items():
        aim = AIMS.get(name)
        verdict = "" if aim is None else "met" if count <= aim else f"missed by {count - aim:,}"
        lines.append(f"| {name} | {count:,} | {aim or '':,} | {verdict} |" if aim else f"| {name} | {count:,} | | |")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tokens")
    parser.add_argument("--table", type=Path)
    add_peers(parser)
    parser.add_argument("--before", type=Path, metavar="CHECKOUT")
    return parser.parse_args()


def main() -> None:
    chosen = _arguments()
    rows = measured()
    sections = {(BEGIN, END): section(rows)}
    if chosen.peer:
        sections[PEERS] = peers_section(rows, peers_of(chosen))
    if chosen.before:
        sections[DAY] = day_section(measured_day(chosen.before), measured_day(), commit_of(chosen.before))
    for marks, text in sections.items():
        print(text, end="\n\n")
        if chosen.table:
            put(chosen.table.name, text, *marks)


if __name__ == "__main__":
    main()
