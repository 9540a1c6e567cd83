"""`waha-mcp grant`: a person opens a window in which messages to named chats go out without a question."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import closing
from typing import Annotated

import anyio
import typer

from waha_mcp.app.definition import App, load_app
from waha_mcp.app.policy_fields import seconds_in
from waha_mcp.cli.common import AppOption, Failure, chosen, defined, known_app, say
from waha_mcp.cli.dialog import interactive
from waha_mcp.cli.terminal import visible
from waha_mcp.log import configure_logging, hide
from waha_mcp.people.persons import Person, shown_of
from waha_mcp.policy import task_grants
from waha_mcp.policy.task_grants import LEAST_SECONDS, MOST_MESSAGES, MOST_SECONDS, TaskGrant
from waha_mcp.store import StoreAway
from waha_mcp.store.folders import user_store
from waha_mcp.whatsapp.ids import parse_chat
from waha_mcp.whatsapp.untrusted import reveal


def grant(
    to: Annotated[
        list[str] | None,
        typer.Option("--to", help="A person or group: number, id or saved name. Repeat it.", show_default=False),
    ] = None,
    span: Annotated[str, typer.Option("--for", help="How long, from 1m to 30m.")] = "30m",
    messages: Annotated[int, typer.Option(min=1, max=MOST_MESSAGES, help="Messages to each of them.")] = MOST_MESSAGES,
    app: AppOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    show: Annotated[bool, typer.Option("--list", help="Show the grants in force, and exit.")] = False,
    end: Annotated[
        str | None, typer.Option("--end", metavar="CHAT|all", help="End a grant early.", show_default=False)
    ] = None,
) -> None:
    """Let an agent write to somebody without asking, for a while.

    It skips the question and nothing else: lists, pace, links and pauses stay, and what deletes or changes settings
    is asked about as ever. A new grant for the same chat replaces the last one.

    Example: waha-mcp grant --to "Maya Lindqvist" --for 30m --messages 5
    """
    if bool(to) + show + (end is not None) != 1:
        raise Failure("give one of --to, --list and --end")
    if not to:
        _show(app) if end is None else _end(end, app)
        return
    seconds = _seconds(span)
    configure_logging("error")
    loaded = load_app(chosen(app))
    for secret in loaded.secrets():
        hide(secret)
    chats = anyio.run(_chats, loaded, to)
    what = task_grants.amount(messages, seconds)
    print(f"Agents of App '{loaded.id}' may write without a question, {what}, to each of:")
    shown, who = shown_of(chats)
    for each in shown.values():
        print(f"  {visible(reveal(each))}")
    if not yes:
        if not interactive():
            raise Failure("opening it needs a confirmation: run it in a terminal, or add --yes")
        if not typer.confirm("Open it?"):
            raise Failure("nothing was opened", code=1)
    try:
        with closing(user_store()) as store:
            given = task_grants.give(store, loaded.identity, shown, seconds, messages, who)
    except StoreAway as error:
        raise Failure(str(error), code=1) from None
    if loaded.audit != "off":
        task_grants.note("given", given, "waha-mcp grant")
    say("It is open. Close it with: waha-mcp grant --end all")


def _seconds(span: str) -> float:
    try:
        seconds = seconds_in(span)
    except ValueError as error:
        raise Failure(f"--for: {error}") from None
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise Failure(f"--for: must be from {LEAST_SECONDS / 60:.0f}m to {MOST_SECONDS / 60:.0f}m")
    return seconds


async def _chats(app: App, written: list[str]) -> Mapping[str, Person]:
    """The people and groups meant, by the rules for effects: chat id to who it is."""
    from waha_mcp.app.actions import Action
    from waha_mcp.bridge import Bridge
    from waha_mcp.people.resolving import Unresolved
    from waha_mcp.policy import Refusal
    from waha_mcp.waha.errors import WahaError

    found = {}
    async with Bridge(app) as bridge:
        try:
            await bridge.key.settle()
            await bridge.key.identify()
            allowed = bridge.key.grant
            if Action.SEND not in allowed.actions:
                raise Failure(f"App '{app.id}' sends nothing: {allowed.why_not(Action.SEND)}", code=1)
            bridge.directory.available = Action.READ in allowed.actions
            await bridge.policy.prepare(allowed)
            for each in written:
                chat, person = await bridge.policy.grantable(await bridge.directory.resolve(each, effect=True))
                found[chat] = person
        except (Unresolved, Refusal, WahaError) as error:
            raise Failure(str(error), code=1) from None
    return found


def _in_force(app_id: str | None) -> list[TaskGrant]:
    try:
        with closing(user_store()) as store:
            return task_grants.in_force(store, app_id)
    except StoreAway as error:
        raise Failure(str(error), code=1) from None


def _show(app: str | None) -> None:
    found = _in_force(None if app is None else known_app(app))
    for each in found:
        print(visible(reveal(f"App {each.app_id}, {each.text}")))
    if not found:
        print("Nothing is open.")


def _end(chat: str, app: str | None) -> None:
    app_id = None if app is None else known_app(app)
    keys = None if chat == "all" else _meant(chat, _in_force(app_id))
    try:
        with closing(user_store()) as store:
            ended = task_grants.end(store, app_id, None if keys is None else lambda each: each.key in keys)
    except StoreAway as error:
        raise Failure(f"{error} What is open stays open, but nothing but reading is done meanwhile", code=1) from None
    keeping = defined()
    for each in ended:
        print(f"Closed: {visible(reveal(f'App {each.app_id}, {each.shown}'))}")
        if keeping.get(each.app_id, True):
            task_grants.note("ended", [each], "waha-mcp grant --end")
    if not ended:
        print("Nothing was open.")


def _meant(written: str, found: list[TaskGrant]) -> set[str]:
    """The keys of the grants for a chat: by its number or id, else by a part of the text on who it is."""
    with contextlib.suppress(ValueError):
        chat = parse_chat(written)
        if by_id := {each.key for each in found if each.chat == chat}:
            return by_id
    called = [each for each in found if written.casefold() in each.shown.casefold()]
    if len({each.chat for each in called}) != 1:
        named = ", ".join(dict.fromkeys(reveal(each.shown) for each in called or found)) or "nobody"
        raise Failure(f"{'several are' if called else 'nothing is'} open for {written!r}; open to: {named}", code=1)
    return {each.key for each in called}
