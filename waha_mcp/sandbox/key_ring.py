"""API keys: the admin's, the scoped ones, and the narrow ones that WAHA mints for itself."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from waha_mcp.app.actions import Action, actions_from_waha


@dataclass(slots=True)
class Key:
    """A stored key. `label` names it in the request log, which never shows the key itself."""

    id: str
    secret: str = field(repr=False)
    label: str
    is_admin: bool = False
    is_active: bool = True
    session: str | None = None
    actions: dict[str, bool] | None = None

    def may(self, action: str, session: str | None) -> bool:
        """Whether the key opens an action on a session."""
        if self.is_admin:
            return True
        return self.session == session and action in actions_from_waha(self.actions)

    def as_json(self) -> dict[str, Any]:
        """`ApiKeyDTO` of WAHA."""
        return {
            "id": self.id,
            "key": self.secret,
            "isActive": self.is_active,
            "isAdmin": self.is_admin,
            "session": self.session,
            "actions": None if self.actions is None else dict(self.actions),
        }


def every_action(*, on: frozenset[Action] | set[Action]) -> dict[str, bool]:
    """An `actions` object with all six actions, those in `on` true."""
    return {action.value: action in on for action in Action}


def known_actions(value: Mapping[str, Any] | None) -> dict[str, bool] | None:
    """The `actions` of a body as WAHA stores it: unknown names and null flags are dropped."""
    if value is None:
        return None
    return {action.value: value[action] for action in Action if value.get(action) is not None}


class Keys:
    """All keys of the server. The admin key is in the environment and not listed."""

    def __init__(self) -> None:
        self.admin = Key("admin", secrets.token_hex(16), "admin", is_admin=True)
        self._by_secret = {self.admin.secret: self.admin}
        self.stored: dict[str, Key] = {}

    def find(self, secret: str | None) -> Key | None:
        """The active key with this secret."""
        key = self._by_secret.get(secret) if secret else None
        return key if key is not None and key.is_active else None

    def create(
        self,
        *,
        session: str | None,
        actions: dict[str, bool] | None,
        is_admin: bool = False,
        is_active: bool = True,
        label: str | None = None,
        key_id: str | None = None,
    ) -> Key:
        key_id = key_id or f"key_id_{secrets.token_hex(13)}"
        key = Key(
            id=key_id,
            secret=f"key_{secrets.token_urlsafe(24)}",
            label=label or key_id,
            is_admin=is_admin,
            is_active=is_active,
            session=None if is_admin else session,
            actions=None if is_admin else actions,
        )
        self.stored[key.id] = key
        self._by_secret[key.secret] = key
        return key

    def narrow(self, kind: str, session: str, on: set[Action]) -> Key:
        """Get or create the `media` or `control` key of a session."""
        key_id = f"key_id_{kind}_{session}"
        return self.stored.get(key_id) or self.create(
            session=session, actions=every_action(on=on), label=f"{kind}:{session}", key_id=key_id
        )

    def delete(self, key_id: str) -> None:
        key = self.stored.pop(key_id, None)
        if key is not None:
            del self._by_secret[key.secret]
