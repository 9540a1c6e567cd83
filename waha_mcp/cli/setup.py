"""Sets up an App: creates the key in WAHA, checks it, and writes the definition."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import tomlkit
from pydantic import SecretStr

from waha_mcp.app import keys
from waha_mcp.app.actions import Action, Evidence
from waha_mcp.app.definition import App, AppError, load_app, read_definition, resolve_key
from waha_mcp.files import make_private, write_atomically
from waha_mcp.steps import for_person
from waha_mcp.waha.admin_api import Admin, AdminError, Minted
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import WahaError
from waha_mcp.waha.key_probe import examine

_HEADER = "An MCP App, made by `waha-mcp init`. The key is kept elsewhere; `waha-mcp apps show {}` says what it may do."


@dataclass(frozen=True)
class Plan:
    """The App to create or update."""

    id: str
    url: str
    session: str
    actions: frozenset[Action]
    enabled: bool = True
    #: The App's fields for the connection: `ca_file`, `allow_insecure_http`.
    way: Mapping[str, Any] = field(default_factory=dict)
    #: Its limits: `chats`, `approval`, `links`.
    limits: Mapping[str, Any] = field(default_factory=dict)

    def app(self, key: SecretStr | str = "unknown-yet") -> App:
        """The planned App.

        Raises:
            AppError: it is invalid.
        """
        return load_app(overrides=self.fields() | {"key": key}, environ={})

    def fields(self) -> dict[str, Any]:
        """The definition's fields, without the key."""
        return {
            "id": self.id,
            "url": self.url,
            "session": self.session,
            "actions": [action.value for action in Action if action in self.actions],
            **self.way,
            **self.limits,
        }


#: Seconds in which WAHA's former state is restored.
_UNDO_LIMIT = 10.0


async def make(admin: Admin, plan: Plan, folder: Path) -> tuple[Path, Minted]:
    """Create or change the key in WAHA, check that it has exactly the planned actions, and write `<id>.toml`.

    If the check fails or it is cancelled, WAHA's former state is restored and nothing is written.

    Raises:
        AppError: the existing definition with this id cannot be read.
        AdminError: the key has other actions, or WAHA refuses the id.
        WahaError: WAHA failed or refused.
        OSError: the definition cannot be written.
    """
    path = folder / f"{plan.id}.toml"
    old_key = None
    if path.exists():
        read_definition(path)  # before WAHA is asked for anything
        old_key = current_key(path)
    make_private(folder)
    earlier = await admin.find(plan.id, plan.session, old_key)
    minted = None
    try:
        minted = await admin.save(plan.id, plan.session, plan.actions, enabled=plan.enabled, old_key=old_key)
        await _check(admin, plan, minted)
        assert minted.key is not None
        new = plan.fields() | {"enabled": plan.enabled}
        if minted.key.get_secret_value() != old_key:
            new["key"] = keys.keep(plan.id, minted.key.get_secret_value(), folder)
        write_definition(path, new)
    except BaseException as error:
        if not plan.enabled and minted is not None and isinstance(error, Exception):
            # Off is off, whatever fails here.
            raise AdminError(
                f"WAHA has disabled '{plan.id}', but its definition here could not be changed: {error}"
            ) from error
        left = await _put_back(admin, plan, earlier, minted)
        if isinstance(error, anyio.get_cancelled_exc_class()):
            print(f"\n{left}", file=sys.stderr)
        if isinstance(error, (AdminError, WahaError)):
            raise AdminError(f"{error} {left}".rstrip()) from None
        raise
    return path, minted


async def _check(admin: Admin, plan: Plan, minted: Minted) -> None:
    """Check that WAHA made the key that was asked for.

    Raises:
        AdminError: it did not.
        WahaError: WAHA could not be reached or failed.
    """
    if minted.key is None:
        raise AdminError("WAHA did not return the new app's key: look it up in WAHA's dashboard.")
    if plan.enabled:
        recorded = await admin.stored(minted.key.get_secret_value())
        if wrong := await differences(plan.app(minted.key), recorded.actions if recorded else None):
            raise AdminError(f"the key that WAHA made is not what was asked for: {'; '.join(wrong)}.")


async def _put_back(admin: Admin, plan: Plan, earlier: Minted | None, minted: Minted | None) -> str:
    """Restore the former app or key in WAHA, or none; a sentence about the result, also if it is cancelled."""
    unknown = f"Whether WAHA keeps '{plan.id}' is not known: look at the session's apps and keys in its dashboard."
    with anyio.CancelScope(shield=True), anyio.move_on_after(_UNDO_LIMIT):
        try:
            if earlier is None:
                key = minted.key.get_secret_value() if minted and minted.key else None
                gone = await admin.remove(plan.id, plan.session, key)
                return "It is removed again." if gone else "Nothing was made." if minted is None else unknown
            key = earlier.key.get_secret_value() if earlier.key else None
            await admin.save(plan.id, plan.session, earlier.actions, enabled=earlier.enabled, old_key=key)
        except (AdminError, WahaError):
            return unknown
        return f"'{plan.id}' is in WAHA as it was before."
    return unknown


async def unknown_recipients(app: App) -> str | None:
    """What is wrong with the names on the App's lists, as a sentence; None if nothing is, or it cannot be found out."""
    from waha_mcp.people.filling import FilledTable
    from waha_mcp.people.persons import People
    from waha_mcp.policy.recipients import Recipients

    async with Waha(app.url, app.key, app.session, ca_file=app.ca_file) as waha:
        recipients = Recipients(app.chats, People(FilledTable(waha)))
        try:
            await recipients.prepare(can_read=True)
        except WahaError:
            return None
        return recipients.unresolved()


async def differences(app: App, recorded: frozenset[Action] | None) -> list[str]:
    """How the actions of the App's key differ from the App's, as texts; empty if they are equal.

    The key is probed. `recorded`: its actions in WAHA's record, used for the three actions without a probe.

    Raises:
        WahaError: WAHA could not be reached or failed.
    """
    grant = await examine(app)
    if grant.problem:
        return [for_person(grant.problem)]
    wanted = app.actions or frozenset()
    found = {a for a, evidence in grant.evidence.items() if evidence is Evidence.PROBED}
    silent = {a for a, evidence in grant.evidence.items() if evidence is Evidence.DECLARED}
    found |= silent & (wanted if recorded is None else recorded)
    missing = [action for action in Action if action in wanted and action not in found]
    beyond = [action for action in Action if action in found and action not in wanted]
    return [
        *([f"the key lacks {', '.join(missing)}"] if missing else []),
        *([f"the key also allows {', '.join(beyond)}"] if beyond else []),
    ]


def write_definition(path: Path, fields: Mapping[str, Any]) -> None:
    """Set fields of a definition file; everything else in it, comments included, is kept.

    Raises:
        AppError: the existing file is not a definition.
        OSError: it cannot be written.
    """
    if path.exists():
        old = read_definition(path)
        document = tomlkit.parse(path.read_text(encoding="utf-8-sig"))
    else:
        old, document = {}, tomlkit.document()
        document.add(tomlkit.comment(_HEADER.format(path.stem)))
    for name, value in fields.items():
        if name == "enabled" and value and name not in old:
            continue  # the default
        if name not in old or old[name] != value:
            document.pop(name, None)
            document[name] = _inline(value)
    write_atomically(path, tomlkit.dumps(document), 0o600)


def _inline(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    table = tomlkit.inline_table()
    table.update({name: _inline(each) for name, each in value.items()})
    return table


def current_key(path: Path) -> str | None:
    """The key of a definition; None if it cannot be read."""
    try:
        key = read_definition(path).get("key")
        return resolve_key(key, path.parent, {}).get_secret_value() if key is not None else None
    except AppError:
        return None


def forget(path: Path) -> None:
    """Delete a definition and its stored key."""
    with contextlib.suppress(AppError):  # of a broken one there is no telling where its key is
        keys.forget(read_definition(path).get("key"), path.parent)
    path.unlink(missing_ok=True)
