"""`waha-mcp forget`: deletes the data kept about a chat."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import anyio
import typer

from waha_mcp.app.definition import App, AppError, load_app
from waha_mcp.cli.common import Failure, known_app
from waha_mcp.cli.dialog import interactive
from waha_mcp.places import definitions
from waha_mcp.policy.forgetting import Chats, Forgotten
from waha_mcp.policy.forgetting import forget as delete
from waha_mcp.store import StoreAway
from waha_mcp.store.folders import user_store
from waha_mcp.whatsapp.ids import parse_chat

#: Seconds to look for a person's other id, per App.
LOOK = 5.0


def forget(
    chats: Annotated[
        list[str] | None, typer.Argument(metavar="[CHAT]...", help="Phone numbers or chat ids.", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All chats.")] = False,
    app: Annotated[
        str | None, typer.Option(help="Only of this App: its id, or its file.", show_default="all Apps")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Delete the data kept here about a chat.

    It is in the trail, questions, saved files, own messages and the index. WhatsApp keeps its own data.

    Example: waha-mcp forget '+1 202 555 0123'
    """
    if bool(chats) == every:
        raise Failure("name the chats to forget, or --all")
    try:
        ids = {parse_chat(each) for each in chats or ()}
    except ValueError as error:
        raise Failure(str(error)) from None
    app_id = None if app is None else known_app(app)
    if interactive() and not yes and not typer.confirm(f"Forget {'all chats' if every else ', '.join(sorted(ids))}?"):
        raise Failure("nothing was forgotten", code=1)
    people = {each for each in ids if each.endswith(("@c.us", "@lid"))}
    others = {each: anyio.run(_other_id, each, app_id) for each in sorted(people)}
    ids |= {other for other in others.values() if other}
    alone = [each for each, other in others.items() if other is None]
    try:
        with closing(user_store()) as store:
            done = delete(store, Chats(None if every else ids), app_id)
    except StoreAway as error:
        raise Failure(f"not everything was forgotten: {error}", code=1) from None
    if as_json:
        print(json.dumps({"chats": sorted(ids), "one_id_only": alone} | asdict(done), ensure_ascii=False, indent=2))
    else:
        _tell(done, alone)
    if done.problems:
        raise Failure(f"not everything was forgotten: {'; '.join(done.problems)}", code=1)


def _tell(done: Forgotten, alone: list[str]) -> None:
    counts = {
        "lines of the trail (time and tool are kept)": done.trail_lines,
        "questions": done.questions,
        "saved files": len(done.saved_files),
        "ids of sent messages": done.sent_messages,
        "first contacts": done.first_contacts,
        "task grants": done.task_grants,
        "messages of the index": done.indexed_messages,
    }
    told = [f"{what}: {count}" for what, count in counts.items() if count]
    print(f"Forgotten, {', '.join(told)}." if told else "Nothing was kept of that.")
    for each in alone:
        print(f"WAHA did not give the other id of {each}: if you know it, forget that, too.")


async def _other_id(chat: str, app_id: str | None) -> str | None:
    """The second id of a person, from the first WAHA that tells it; None if none does."""
    from waha_mcp.people.filling import FilledTable
    from waha_mcp.waha.client import Waha
    from waha_mcp.waha.errors import WahaError
    from waha_mcp.waha.key_probe import KeyProbe

    for app in _apps(app_id):
        with anyio.move_on_after(LOOK):
            async with Waha(app.url, app.key, app.session, ca_file=app.ca_file) as waha:
                try:
                    if waha.session is None:
                        await KeyProbe(app, waha).identify()
                    other = await FilledTable(waha).learn(chat) if waha.session else None
                except WahaError:
                    continue
                if other is not None:
                    return other
    return None


def _apps(app_id: str | None) -> Iterator[App]:
    """The user's Apps that can be loaded, and the one of the environment; with `app_id`, only that one."""
    for source in (None, *map(str, definitions())):
        try:
            app = load_app(source)
        except AppError:
            continue
        if app_id in (None, app.id):
            yield app
