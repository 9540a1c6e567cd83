"""Media files: any key of the session may fetch them."""

from __future__ import annotations

from starlette.responses import Response

from waha_mcp.sandbox.answers import forbidden, no_file
from waha_mcp.sandbox.key_ring import Key
from waha_mcp.sandbox.state import Sandbox


def answer(sandbox: Sandbox, key: Key, path: str) -> Response:
    """The file at `{session}/{message id}.{extension}`.

    Raises:
        Refusal: 403 for another session's file, 404 for one that is not there.
    """
    name, _, file = path.partition("/")
    session = sandbox.sessions.get(name)
    if not key.is_admin and key.session != name:
        raise forbidden()
    if session is None or session.account is None:
        raise no_file()
    message = session.account.messages.get(file.rpartition(".")[0])
    media = message.media if message else None
    if message is None or media is None or media.error or message.deleted or not file.endswith(f".{media.extension}"):
        raise no_file()
    return Response(media.data, 200, {"content-type": media.mimetype, "accept-ranges": "bytes"})
