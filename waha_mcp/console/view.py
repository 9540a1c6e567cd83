"""A view: a page of the console, as one record. `views.VIEWS` lists them in the order of the navigation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from waha_mcp.console.sight import Sight
from waha_mcp.store import Store

#: Types by their first bytes that the page shows or plays; all others can only be downloaded.
IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
SOUNDS = frozenset({"audio/ogg", "audio/mpeg", "audio/aac", "audio/flac", "audio/wav", "audio/mp4"})

#: The fields of a query or of a form: each name once.
Fields = Mapping[str, str]


class NotDone(Exception):
    """An action was not done. The text says why, to the person."""


@dataclass(frozen=True)
class View:
    """One view. All its functions get what the one who looks may see, and may raise StoreAway."""

    #: Its place in the path: lower-case letters.
    name: str
    #: In the navigation and the browser's title.
    title: str
    #: The HTML fragment for `<main>`, for the fields of the query. It begins with `<h1 tabindex="-1">`.
    render: Callable[[Sight, Fields], Awaitable[str]]
    #: What its forms can do, by name. Each gets the form's fields, and returns what is told to the person.
    actions: Mapping[str, Callable[[Sight, Fields], Awaitable[str]]] = field(default_factory=dict)
    #: The bytes that it shows or offers under a name; None if there are none.
    file: Callable[[Sight, str], Awaitable[bytes | None]] | None = None
    #: The number beside its title in the navigation; 0 shows none. Blocks; the store is that of the sight.
    count: Callable[[Sight, Store], int] | None = None
