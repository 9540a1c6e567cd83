"""The Apps that the user's console shows: those of the config folder, of the environment, and those with state here."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from waha_mcp.app.definition import DEFAULT_ID, App, AppError, Disabled, NoKey, id_of, load_app, read_definition
from waha_mcp.app.inputs import unchanged
from waha_mcp.log import hide
from waha_mcp.places import definitions
from waha_mcp.store.folders import app_ids

#: The variables that make an App by themselves.
_OWN = ("WAHA_MCP_APP", "WAHA_URL", "WAHA_API_KEY")


@dataclass(frozen=True)
class Known:
    """An App. `app` None: what it may do is not known here, for the reason `why`."""

    id: str
    app: App | None
    why: str = ""

    @property
    def keeps_trail(self) -> bool:
        """Whether a line about it is to be written into its trail."""
        return self.app is None or self.app.audit != "off"


class UserApps:
    """The Apps of the user. A definition is read again when it has changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: dict[str | None, App] = {}

    def __call__(self) -> list[Known]:
        """All of them, in the order of their ids; those without a definition last. Blocks."""
        found: dict[str, Known] = {}
        sources: list[str | None] = [str(path) for path in definitions()]
        if any(os.environ.get(name, "").strip() for name in _OWN):
            sources.append(None)
        with self._lock:
            for source in sources:
                if (known := self._known(source)) is not None:
                    found.setdefault(known.id, known)
        rest = [Known(each, None, NOT_HERE) for each in app_ids() if each not in found]
        return [*sorted(found.values(), key=lambda each: each.id), *rest]

    def _known(self, source: str | None) -> Known | None:
        app = self._loaded.get(source)
        if app is not None and app.inputs is not None and unchanged(app.inputs):
            return Known(app.id, app)
        try:
            app = self._loaded[source] = load_app(source, alone=source is not None)
        except NoKey as error:
            return None if source is None else Known(_id(source), None, str(error))
        except Disabled as error:
            return Known(_id(source), None, str(error))
        except AppError as error:
            return Known(_id(source), None, f"it cannot be used: {error}")
        for secret in app.secrets():
            hide(secret)
        return Known(app.id, app)


#: Of an App that has state on this machine, and no definition.
NOT_HERE = "there is no definition of it here: the program that starts its server knows what it may do"


def _id(source: str | None) -> str:
    """The id of a definition that cannot be used, as far as it can be told."""
    if source is None:
        return DEFAULT_ID
    path = Path(source)
    with contextlib.suppress(AppError):
        return str(id_of(path, read_definition(path)))
    return path.stem
