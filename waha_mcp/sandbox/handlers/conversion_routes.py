"""Media conversion: the answer is a file, or JSON when Accept says exactly that."""

from __future__ import annotations

import base64
from typing import Any

from starlette.responses import Response

from waha_mcp.sandbox.handlers.sending_routes import media_from
from waha_mcp.sandbox.registry import Call, handles
from waha_mcp.sandbox.sample_files import mp4, ogg


@handles("MediaController_convertVoice")
def voice(call: Call) -> Any:
    return _converted(call, "audio/ogg; codecs=opus", ogg())


@handles("MediaController_convertVideo")
def video(call: Call) -> Any:
    return _converted(call, "video/mp4", mp4())


def _converted(call: Call, mimetype: str, data: bytes) -> Any:
    media_from(call.body, mimetype)
    if call.wants_json:
        return {"mimetype": mimetype, "data": base64.b64encode(data).decode()}
    return Response(data, 200, {"content-type": mimetype})
