"""The admin-only operations that setup needs: list sessions, and create, change and delete MCP Apps and scoped keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from pydantic import SecretStr

from waha_mcp.app.actions import Action, actions_from_waha
from waha_mcp.app.definition import SESSION_NAME, App
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import (
    BadAnswer,
    Forbidden,
    NotFound,
    Refused,
    Unauthorized,
    UnknownOperation,
    Unsupported,
    WahaError,
    clean,
)
from waha_mcp.waha.parsing import chat_id_of, listing, mapping_of, text_of
from waha_mcp.waha.versions import SCOPED_KEYS, older
from waha_mcp.whatsapp.ids import phone_of
from waha_mcp.whatsapp.untrusted import clean_name

#: Errors that an older WAHA, or one with apps switched off, answers because it has no apps.
_NO_APPS = (NotFound, UnknownOperation, Unsupported, Refused)
_NO_WAHA = f"there is no WAHA at this URL, or one older than {SCOPED_KEYS}, which has no scoped keys"
_WRONG_KEY = (
    "WAHA does not accept this admin key (401): it is WAHA_API_KEY of WAHA's own environment or, where that is a "
    "sha512:... hash, the key that it was made from"
)


class AdminError(Exception):
    """Setup cannot continue until the user corrects something. The message is one line with the next step."""


@dataclass(frozen=True)
class SessionInfo:
    """One session. `status` is WAHA's (WORKING, STOPPED, ...); `phone` (E.164) and `push_name` are set once paired."""

    name: str
    status: str
    phone: str | None = None
    push_name: str | None = None


@dataclass(frozen=True)
class Minted:
    """An MCP App in WAHA, or a plain scoped key where WAHA has no apps (then `app` is False)."""

    id: str
    session: str
    enabled: bool
    actions: frozenset[Action]
    #: None if WAHA's answer does not include it.
    key: SecretStr | None
    app: bool = True


class Admin:
    """WAHA's API with the admin key, which is held in memory only."""

    def __init__(self, app: App) -> None:
        """Use the URL and certificates of `app`, whose key must be the admin's. No request is made yet."""
        self._waha = Waha(app.url, app.key, ca_file=app.ca_file)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._waha.aclose()

    async def check(self) -> None:
        """Check that the URL is WAHA's and the key its admin's.

        Raises:
            AdminError: either check failed.
            WahaError: WAHA cannot be reached, or failed.
        """
        try:
            await self._waha.call("GET /api/server/environment", bound=False, unread=True)
        except Unauthorized:
            raise AdminError(_WRONG_KEY) from None
        except Forbidden:
            raise AdminError(
                "this is a session's scoped key, not the admin's: only the admin key can create MCP apps"
            ) from None
        except (NotFound, UnknownOperation):
            raise AdminError(_NO_WAHA) from None

    async def sessions(self) -> list[SessionInfo]:
        """List all sessions, including stopped ones, sorted by name."""
        rows = listing(await self._waha.call("GET /api/sessions", query={"all": True}, bound=False), "sessions")
        found = []
        for row in rows:
            me = mapping_of(row.get("me"))
            account = chat_id_of(me.get("id"))
            phone = phone_of(account) if account else None
            if (name := text_of(row.get("name"))) and SESSION_NAME.fullmatch(name):
                status = clean(text_of(row.get("status")) or "?", limit=40)
                called = clean_name(text_of(me.get("pushName")) or "") or None
                found.append(SessionInfo(name, status, phone, called))
        return sorted(found, key=lambda s: s.name)

    async def make_session(self, name: str) -> None:
        """Create and start a session, which then waits to be paired. On NOWEB it gets a store, which chats need."""
        store = {"noweb": {"store": {"enabled": True, "fullSync": True}}}
        await self._waha.call("POST /api/sessions", body={"name": name, "config": store}, bound=False)

    async def start_session(self, name: str) -> None:
        """Start a stopped session."""
        await self._waha.call("POST /api/sessions/{session}/start", path={"session": name}, bound=False)

    async def qr(self, session: str) -> str | None:
        """The text of the session's current pairing QR code; None without one or if WAHA failed."""
        try:
            answer = await self._waha.call(
                "GET /api/{session}/auth/qr", path={"session": session}, query={"format": "raw"}, bound=False
            )
        except WahaError:
            return None
        return text_of(mapping_of(answer).get("value"))

    async def apps(self, session: str) -> list[Minted] | None:
        """The session's MCP Apps; None if this WAHA has no apps."""
        try:
            answer = await self._waha.call("GET /api/apps", query={"session": session}, bound=False)
        except _NO_APPS:
            return None
        return [_app(row) for row in listing(answer, "apps") if row.get("app") == "mcp"]

    async def all_apps(self) -> list[Minted]:
        """The MCP Apps of all sessions; none where this WAHA has no apps."""
        return [app for each in await self.sessions() for app in await self.apps(each.name) or []]

    async def stored(self, key: str) -> Minted | None:
        """Look up a scoped key in WAHA; None if WAHA has no such key."""
        rows = listing(await self._waha.call("GET /api/keys", bound=False), "keys")
        return next((_key(row) for row in rows if row.get("key") == key), None)

    async def save(
        self, app_id: str, session: str, actions: Iterable[Action], *, enabled: bool = True, old_key: str | None = None
    ) -> Minted:
        """Create the MCP App, or update it if it exists; where WAHA has no apps, a scoped key instead.

        `old_key` is the key from an earlier setup, by which an existing scoped key is found.

        Raises:
            AdminError: WAHA refuses to create the app, most often because the id is taken.
            WahaError: WAHA failed or refused.
        """
        granted = frozenset(actions)
        flags = {action.value: action in granted for action in Action}
        known = await self.apps(session)
        if known is None:
            return await self._save_key(session, flags, enabled, old_key)
        body = {"id": app_id, "session": session, "app": "mcp", "enabled": enabled, "config": {"actions": flags}}
        if any(app.id == app_id for app in known):
            answer = await self._waha.call("PUT /api/apps/{id}", path={"id": app_id}, body=body, bound=False)
        else:
            try:
                answer = await self._waha.call("POST /api/apps", body=body, bound=False)
            except Refused as error:
                raise AdminError(f"WAHA refuses an app '{app_id}', choose another id: {error}") from None
        return _app(mapping_of(answer))

    async def _save_key(self, session: str, flags: Mapping[str, bool], enabled: bool, old_key: str | None) -> Minted:
        body = {"isAdmin": False, "session": session, "isActive": enabled, "actions": flags}
        old = await self.stored(old_key) if old_key else None
        if old is None or old.session != session:
            answer = await self._waha.call("POST /api/keys", body=body, bound=False)
        else:
            answer = await self._waha.call("PUT /api/keys/{id}", path={"id": old.id}, body=body, bound=False)
        return _key(mapping_of(answer))

    async def find(self, app_id: str, session: str, key: str | None) -> Minted | None:
        """The MCP App, or the plain key where WAHA has no such app; None if there is neither."""
        app = next((app for app in await self.apps(session) or [] if app.id == app_id), None)
        return app or (await self.stored(key) if key else None)

    async def remove(self, app_id: str, session: str, key: str | None) -> bool:
        """Delete the MCP App together with its key, or the plain key; return whether there was one."""
        known = await self.apps(session)
        if known is not None and any(app.id == app_id for app in known):
            await self._waha.call("DELETE /api/apps/{id}", path={"id": app_id}, bound=False)
            return True
        return await self.remove_key(key) if key else False

    async def remove_key(self, key: str) -> bool:
        """Delete a scoped key; return whether there was one."""
        old = await self.stored(key)
        if old is None:
            return False
        await self._waha.call("DELETE /api/keys/{id}", path={"id": old.id}, bound=False)
        return True

    async def add_key(self, session: str, actions: Iterable[Action]) -> Minted:
        """Create a plain scoped key."""
        granted = frozenset(actions)
        return await self._save_key(session, {action.value: action in granted for action in Action}, True, None)

    async def key_ids(self, session: str) -> set[str]:
        """The ids of the scoped keys of a session."""
        rows = listing(await self._waha.call("GET /api/keys", bound=False), "keys")
        return {key_id for row in rows if row.get("session") == session and (key_id := text_of(row.get("id")))}


def _app(raw: Mapping[str, Any]) -> Minted:
    config = mapping_of(raw.get("config"))
    return _minted(raw, raw.get("enabled", True), config.get("actions"), config.get("key"), app=True)


def _key(raw: Mapping[str, Any]) -> Minted:
    return _minted(raw, raw.get("isActive", True), raw.get("actions"), raw.get("key"), app=False)


def _minted(raw: Mapping[str, Any], enabled: Any, actions: Any, key: Any, *, app: bool) -> Minted:
    app_id, session = raw.get("id"), raw.get("session")
    try:
        granted = actions_from_waha(actions)
    except ValueError:
        granted = None
    if not isinstance(app_id, str) or not isinstance(session, str) or granted is None:
        raise BadAnswer(
            "WAHA's answer about the app or key does not have the expected shape: its version may be too new."
        )
    return Minted(app_id, session, bool(enabled), granted, SecretStr(key) if isinstance(key, str) else None, app)


async def find_waha(app: App) -> None:
    """Check that WAHA answers at the URL of `app`, whose key is not sent.

    Raises:
        AdminError: something else answers there, or a WAHA that has no scoped keys.
        WahaError: nothing answers, or nothing that can be used.
    """
    async with Waha(app.url, SecretStr(""), ca_file=app.ca_file) as waha:
        try:
            answer = mapping_of(await waha.call("GET /api/server/version", bound=False))
        except Unauthorized:
            return  # in WAHA's own words
        except (Forbidden, NotFound, UnknownOperation):
            raise AdminError(_NO_WAHA) from None
    version = text_of(answer.get("version"))
    if version is None:
        raise AdminError(_NO_WAHA)
    if older(version, SCOPED_KEYS):
        raise AdminError(f"WAHA {version} has no scoped keys: update it to {SCOPED_KEYS} or newer")
