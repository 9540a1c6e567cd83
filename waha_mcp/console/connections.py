"""The view of what each App is connected to: WAHA and the session on one side, MCP clients on the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import segno
from markupsafe import Markup

from waha_mcp.app.definition import App
from waha_mcp.console.index_files import IndexFile, files_of
from waha_mcp.console.looking import Look, client_in_words, looked_at
from waha_mcp.console.pages import rendered
from waha_mcp.console.sight import Sight
from waha_mcp.console.view import Fields, View
from waha_mcp.feed.live import in_words
from waha_mcp.store import in_thread
from waha_mcp.store.attendance import Present, present


@dataclass(frozen=True)
class Shown:
    """What is shown of one App. `why`: why the rest is not known, of an App without a definition that can be used."""

    id: str
    present: Sequence[Present]
    index: Sequence[IndexFile]
    why: str | None = None
    app: App | None = None
    look: Look | None = None
    #: The picture of the QR code, as SVG.
    qr: Markup | None = None


async def _render(sight: Sight, query: Fields) -> str:
    return await in_thread(rendered_apps, sight, await looked_at(sight))


def rendered_apps(sight: Sight, looks: Mapping[str, tuple[App, Look] | str]) -> str:
    """The fragment, as `reach.rendered_apps`. Blocks."""
    with sight.opened() as store:
        there = {app_id: present(store, app_id) for app_id in looks}
    apps = []
    for app_id, found in looks.items():
        if isinstance(found, str):
            apps.append(Shown(app_id, there[app_id], (), why=found))
            continue
        app, look = found
        index = files_of(app_id) if app.index else ()
        qr = None if look.qr is None else _picture(look.qr)
        apps.append(Shown(app_id, there[app_id], index, None, app, look, qr))
    return rendered("connections.html", apps=apps, feed=in_words, client=client_in_words)


def _picture(value: str) -> Markup:
    """A QR code as an SVG element, with the light border that scanners need."""
    code = segno.make(value, error="l", micro=False)
    drawn = code.svg_inline(border=4, light="#fff", dark="#000", omitsize=True, svgclass="qr", lineclass=None)
    # Only what segno draws is in it: the value itself is not.
    return Markup(drawn)  # noqa: S704


CONNECTIONS = View("connections", "Connections", _render)
