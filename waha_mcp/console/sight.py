"""What somebody who looks at the console may see and decide. Every view takes its data through a `Sight`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from waha_mcp.app.definition import App, load_app, readable_definitions
from waha_mcp.app.inputs import unchanged
from waha_mcp.policy.approval import Entry, waiting_in
from waha_mcp.store import Store
from waha_mcp.store.folders import app_ids


@dataclass(frozen=True)
class Sight:
    """The Apps that somebody may see: on loopback all of the user's, on a server the one that they logged in for.

    Its methods block and may raise StoreAway.
    """

    #: The id of the only App that is visible; None: all of the user's are.
    only: str | None
    #: Opens the store, for a `with` block.
    opened: Callable[[], AbstractContextManager[Store]]
    #: The App with an id, as it is defined now; None if there is none. May raise AppError. Ask `app` instead.
    find: Callable[[str], App | None]

    def sees(self, app_id: str) -> bool:
        """Whether an App is visible."""
        return self.only is None or self.only == app_id

    def app_ids(self) -> list[str]:
        """The ids of the visible Apps, sorted: those with a definition, and those that have kept anything."""
        return [self.only] if self.only is not None else sorted({*app_ids(), *defined_ids()})

    def app(self, app_id: str) -> App | None:
        """A visible App; None if it is not visible or has no definition.

        Raises:
            AppError: its definition cannot be used.
        """
        return self.find(app_id) if self.sees(app_id) else None

    def waiting(self, store: Store) -> list[Entry]:
        """The visible questions that wait, oldest first."""
        return waiting_in(store, self.only)


def defined_ids() -> dict[str, str]:
    """The ids of the Apps in the config folder that can be read, and the paths of their files."""
    return {app_id: str(path) for app_id, path, _ in readable_definitions()}


#: The Apps by the paths of their definitions, until one of these changes: views ask for them all the time.
_LOADED: dict[str, App] = {}


def find_defined(app_id: str) -> App | None:
    """The App in the config folder with an id; None if there is none.

    Raises:
        AppError: its definition cannot be used.
    """
    path = defined_ids().get(app_id)
    if path is None:
        return None
    app = _LOADED.get(path)
    if app is None or app.inputs is None or not unchanged(app.inputs):
        app = _LOADED[path] = load_app(path, alone=True)
    return app
