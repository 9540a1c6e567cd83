"""Media files: any key of the session may fetch them."""

from __future__ import annotations

from starlette.responses import Response

from waha_mcp.sandbox.answers import Crash, forbidden, no_file
from waha_mcp.sandbox.handlers.lookups import bare_id
from waha_mcp.sandbox.key_ring import Key
from waha_mcp.sandbox.state import Sandbox


def answer(sandbox: Sandbox, key: Key, path: str) -> Response:
    """The file at `{session}/{message id}.{extension}`.

    Raises:
        Refusal: 403 for another session's file, 404 for a missing one.
    """
    name, _, file = path.partition("/")
    session = sandbox.sessions.get(name)
    if not key.is_admin and key.session != name:
        raise forbidden()
    if session is None or session.account is None:
        raise no_file()
    message = session.account.messages.get(_message_id(file.rpartition(".")[0]))
    media = message.media if message else None
    if message is None or media is None or media.error or message.deleted or not file.endswith(f".{media.extension}"):
        raise no_file()
    return Response(media.data, 200, {"content-type": media.mimetype, "accept-ranges": "bytes"})


def _message_id(stem: str) -> str:
    """The bare id in a file's name, which is the bare or the full id of its message."""
    try:
        return bare_id(stem)
    except Crash:
        return stem
