"""Pairing a session: QR code, pairing code, passkey; and the screenshot.

The QR picture looks like one and changes with every request, but no phone reads it.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from starlette.responses import Response

from waha_mcp.sandbox.answers import http_error
from waha_mcp.sandbox.registry import Call, handles
from waha_mcp.sandbox.sample_files import bitmap
from waha_mcp.sandbox.state import WORKING, Session

SIZE = 33


@handles("AuthController_getQR")
def qr(call: Call) -> Any:
    session = call.session
    session.qr += 1
    value = qr_value(session)
    if call.query["format"] == "raw":
        return {"value": value}
    return _picture(call, qr_png(value))


def qr_value(session: Session) -> str:
    """The content of the code: changes whenever WhatsApp issues a new one."""
    parts = (hashlib.sha256(f"{session.name}{session.qr}{part}".encode()).digest() for part in range(3))
    return f"2@{','.join(base64.b64encode(part).decode() for part in parts)}"


def qr_png(value: str) -> bytes:
    bits = int.from_bytes(hashlib.sha512(value.encode()).digest() * 3, "big")

    def dark(x: int, y: int) -> bool:
        for left, top in ((0, 0), (SIZE - 7, 0), (0, SIZE - 7)):
            across, down = x - left, y - top
            if -1 <= across <= 7 and -1 <= down <= 7:
                ring = max(abs(across - 3), abs(down - 3))
                return ring in (0, 1, 3)
        return bool(bits >> (y * SIZE + x) % 1500 & 1)

    return bitmap([[dark(x, y) for x in range(SIZE)] for y in range(SIZE)], scale=6, border=4)


def _picture(call: Call, png: bytes) -> Any:
    if call.wants_json:
        return {"mimetype": "image/png", "data": base64.b64encode(png).decode()}
    return Response(png, 200, {"content-type": "image/png"})


def existing(call: Call) -> Session:
    name = call.path.get("session") or call.request.query_params.get("session")
    if call.current is None:
        raise http_error(404, f"We didn't find a session with name '{name}'.")
    return call.current


@handles("AuthController_requestCode")
def code(call: Call) -> Any:
    session = existing(call)
    if session.status != "SCAN_QR_CODE":
        raise http_error(422, f"Can request code only in SCAN_QR_CODE status. The current status is {session.status}")
    digest = hashlib.sha256(f"{call.body['phoneNumber']}{session.qr}".encode()).digest()
    letters = base64.b32encode(digest).decode()[:8]
    return {"code": f"{letters[:4]}-{letters[4:]}"}


@handles("AuthController_getPasskeyChallenge")
def challenge(call: Call) -> Any:
    _in_status(call, "PASSKEY_REQUIRED", "No passkey challenge is pending")
    return {
        "challenge": "c2FuZGJveC1jaGFsbGVuZ2U",
        "timeout": 60_000,
        "rpId": "web.whatsapp.com",
        "allowCredentials": [{"id": "c2FuZGJveC1rZXk", "type": "public-key", "transports": ["internal", "hybrid"]}],
        "userVerification": "required",
    }


@handles("AuthController_submitPasskey")
def submit(call: Call) -> Any:
    """Takes any assertion; a code remains to be confirmed."""
    session = _in_status(call, "PASSKEY_REQUIRED", "No passkey challenge is pending")
    call.sandbox.turn(session, "PASSKEY_CONFIRMATION_REQUIRED")


@handles("AuthController_getPasskeyConfirmation")
def confirmation(call: Call) -> Any:
    _in_status(call, "PASSKEY_CONFIRMATION_REQUIRED", "No passkey confirmation is pending")
    return {"code": "4711"}


@handles("AuthController_confirmPasskey")
def confirm(call: Call) -> Any:
    session = _in_status(call, "PASSKEY_CONFIRMATION_REQUIRED", "No passkey confirmation is pending")
    session.account = session.account or call.sandbox.paired_account()
    call.sandbox.turn(session, WORKING)


def _in_status(call: Call, status: str, otherwise: str) -> Session:
    session = existing(call)
    if session.status != status:
        raise http_error(422, otherwise)
    return session


@handles("ScreenshotController_screenshot")
def screenshot(call: Call) -> Any:
    session = existing(call)
    if session.status == "SCAN_QR_CODE":
        return _picture(call, qr_png(qr_value(session)))
    if session.status == WORKING:
        raise http_error(422, "Can not get screenshot for non chrome based engine.")
    raise http_error(422, f"Unknown status - {session.status}")
