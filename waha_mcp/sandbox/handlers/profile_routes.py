"""The account's own profile."""

from __future__ import annotations

from typing import Any

from waha_mcp.sandbox.handlers.sending_routes import media_from
from waha_mcp.sandbox.registry import Call, handles


@handles("ProfileController_getMyProfile")
def get(call: Call) -> Any:
    account = call.account
    return {
        "id": account.me.id,
        "name": account.me.push_name,
        "picture": call.engine.picture(account, account.me.id),
    }


@handles("ProfileController_setProfileName")
def name(call: Call) -> Any:
    call.account.me.push_name = call.body["name"]
    return {"success": True}


@handles("ProfileController_setProfileStatus")
def about(call: Call) -> Any:
    call.account.me.about = call.body["status"]
    return {"success": True}


@handles("ProfileController_setProfilePicture")
def picture(call: Call) -> Any:
    call.account.me.picture = bool(media_from(call.body["file"], "image/jpeg").data)
    return {"success": True}


@handles("ProfileController_deleteProfilePicture")
def no_picture(call: Call) -> Any:
    call.account.me.picture = False
    return {"success": True}
