"""The toolset `session`: state, limits, pairing with a phone, starting and stopping."""

import io
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from waha_mcp.app.actions import Action
from waha_mcp.tools.catalog import CONFIGURES, DESTROYS, INSPECTS, ArgumentError, Context, tool
from waha_mcp.tools.params import Argument
from waha_mcp.tools.results import Done, changed_session, done
from waha_mcp.tools.several import NotTold, gather
from waha_mcp.waha.errors import BadAnswer, Refused
from waha_mcp.waha.marks import Time
from waha_mcp.waha.models import Attachment, Result
from waha_mcp.waha.parsing import chat_id_of, count_of, iso_time, mapping_of, object_of, text_of, texts_of
from waha_mcp.whatsapp.ids import parse_phone, phone_of
from waha_mcp.whatsapp.untrusted import OwnName

_SESSION = "/api/sessions/{session}"
_AUTH = "/api/{session}/auth"


class Session(Result):
    session: str | None = None
    state: str | None = Field(None, description="WORKING means that messages flow")
    engine: str | None = None
    account: str | None = Field(None, description="Chat id of the account; left out where none is paired")
    name: OwnName | None = None
    phone: str | None = Field(None, description="E.164")
    presence: str | None = Field(None, description="How others see the account: online or offline")
    last_activity: Time | None = None


def _session_from(answer: Any) -> Session:
    """Parse a session, without its configuration, which holds secrets."""
    raw = mapping_of(answer)
    me = mapping_of(raw.get("me"))
    own = chat_id_of(me.get("id"))
    return Session(
        session=text_of(raw.get("name")),
        state=text_of(raw.get("status")),
        engine=text_of(mapping_of(raw.get("engine")).get("engine")),
        account=own,
        name=text_of(me.get("pushName")),
        phone=phone_of(own) if own else None,
        presence=text_of(raw.get("presence")),
        last_activity=iso_time(mapping_of(raw.get("timestamps")).get("activity")),
    )


@tool(title="Session details", action=Action.READ, calls=[f"GET {_SESSION}"], hints=INSPECTS, toolset="session")
async def get_session(*, ctx: Context) -> Session:
    """Show the session: its state, engine, account and last activity."""
    return _session_from(await ctx.waha.call(f"GET {_SESSION}"))


#: Kind of limit to the fields that identify its answer.
_LIMITS = {"capping": ("cappingStatus", "totalQuota", "usedQuota"), "timelock": ("isActive", "enforcementType")}


class Limits(Result):
    new_chats_left: int | None = Field(None, description="How many conversations may still be opened in this cycle")
    new_chats_total: int | None = None
    capping: str | None = Field(None, description="NONE, FIRST_WARNING, SECOND_WARNING or CAPPED")
    cycle_ends: Time | None = None
    locked: bool | None = Field(None, description="True: WhatsApp lets this account open no conversations now")
    locked_because: str | None = None
    locked_until: Time | None = None
    not_told: NotTold = None


@tool(
    title="WhatsApp's limits",
    action=Action.READ,
    calls=[f"GET {_SESSION}/capping", f"GET {_SESSION}/timelock"],
    hints=INSPECTS,
    toolset="session",
)
async def get_limits(*, ctx: Context) -> Limits:
    """Show WhatsApp's own limits on this account: how many new conversations it may open, and whether it is locked."""

    async def limit(what: str) -> Mapping[str, Any] | None:
        return object_of(await ctx.waha.call(f"GET {_SESSION}/{what}"), "a limit", *_LIMITS[what]) or None

    told, not_told = await gather({what: partial(limit, what) for what in _LIMITS})
    capping, lock = told.get("capping", {}), told.get("timelock", {})
    total, used = count_of(capping.get("totalQuota")), count_of(capping.get("usedQuota"))
    locked = lock.get("isActive")
    return Limits(
        new_chats_left=None if total is None or used is None else max(total - used, 0),
        new_chats_total=total,
        capping=text_of(capping.get("cappingStatus")),
        cycle_ends=iso_time(capping.get("cycleEnd")),
        locked=locked if isinstance(locked, bool) else None,
        locked_because=text_of(lock.get("enforcementType")) if locked is True else None,
        locked_until=iso_time(lock.get("timeEnforcementEnds")),
        not_told=not_told,
    )


@tool(
    title="Start, stop or restart",
    action=Action.CONTROL,
    calls=[f"POST {_SESSION}/{verb}" for verb in ("start", "stop", "restart")],
    hints=CONFIGURES,
    toolset="session",
    reaches="nobody",
)
async def control_session(
    do: Annotated[Literal["start", "stop", "restart"], Field(description="What to do with it")], *, ctx: Context
) -> Session:
    """Start, stop or restart the session. A stopped one stays paired, and neither sends nor receives."""
    return _session_from(changed_session(await ctx.waha.call(f"POST {_SESSION}/{do}")))


@tool(
    title="Log out",
    action=Action.CONTROL,
    calls=[f"POST {_SESSION}/logout"],
    hints=DESTROYS,
    toolset="session",
    reaches="nobody",
)
async def logout_session(*, ctx: Context) -> Session:
    """Unpair the session from its phone. To use it again, somebody must scan a QR code with the phone."""
    return _session_from(changed_session(await ctx.waha.call(f"POST {_SESSION}/logout")))


@tool(
    title="Delete the session",
    action=Action.DELETE,
    calls=[f"DELETE {_SESSION}"],
    hints=DESTROYS,
    toolset="session",
    reaches="nobody",
)
async def delete_session(*, ctx: Context) -> Done:
    """Delete the session from WAHA, with its settings, its data and this key. Only an admin can create it anew."""
    return done(await ctx.waha.call(f"DELETE {_SESSION}"), "Deleted the session")


class QrCode(Result):
    text: str = Field(description="The QR code drawn with block characters; show it in a fixed-width font, unwrapped")


@tool(
    title="Get pairing QR code",
    action=Action.CONTROL,
    calls=[f"GET {_AUTH}/qr"],
    hints=INSPECTS,
    toolset="session",
)
async def get_qr_code(*, ctx: Context) -> QrCode:
    """Get the QR code that pairs the session, as an image and as text. It is good for about 20 seconds.

    On the phone: WhatsApp, Linked devices, Link a device.
    """
    # One request for both forms, since each may return a new code. Imported here to keep the start-up fast.
    import segno

    answer = await ctx.waha.call(f"GET {_AUTH}/qr", query={"format": "raw"})
    value = text_of(mapping_of(answer).get("value"))
    if value is None:
        raise BadAnswer("WAHA gave no QR code: the session may be paired already; see get_status.")
    code = segno.make(value, error="l", micro=False)
    image = io.BytesIO()
    code.save(image, kind="png", scale=6)
    return QrCode(text=_drawn(code.matrix_iter(border=2))).attach(Attachment("image", "image/png", image.getvalue()))


def _drawn(rows: Any) -> str:
    """Draw a QR code as text, two rows of modules per line, for a dark terminal."""
    lines = [bytes(row) for row in rows]
    if len(lines) % 2:
        lines.append(bytes(len(lines[0])))
    # Dark modules are blanks, so that on a dark terminal the code has the light border that scanners need.
    blocks = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}
    pairs = zip(lines[::2], lines[1::2], strict=True)
    return "\n".join("".join(blocks[bool(a), bool(b)] for a, b in zip(*pair, strict=True)) for pair in pairs)


class PairingCode(Result):
    code: str = Field(description="To be entered on the phone")


@tool(
    title="Get pairing code",
    action=Action.CONTROL,
    calls=[f"POST {_AUTH}/request-code"],
    hints=CONFIGURES,
    toolset="session",
    # Whoever is at the other end gains access to the account.
    reaches="everyone",
)
async def request_pairing_code(
    phone: Annotated[str, AfterValidator(parse_phone), Field(description="Number of the account, with country code")],
    *,
    ctx: Context,
) -> PairingCode:
    """Get a code that pairs the session without a camera.

    On the phone: WhatsApp, Linked devices, Link a device, Link with phone number instead.
    """
    answer = await ctx.waha.call(f"POST {_AUTH}/request-code", body={"phoneNumber": phone})
    code = text_of(mapping_of(answer).get("code"))
    if code is None:
        raise BadAnswer("WAHA gave no pairing code: use get_qr_code instead.")
    return PairingCode(code=code)


class Credential(Result):
    id: str
    type: str | None = None
    transports: list[str] | None = None


class Passkey(Result):
    """What WhatsApp requests to finish pairing: a signature, or the confirmation of a code."""

    challenge: str | None = Field(default=None, description="To be signed by the passkey on https://web.whatsapp.com")
    relying_party: str | None = Field(default=None, description="rpId of the WebAuthn request")
    user_verification: str | None = None
    timeout: int | None = Field(default=None, description="Milliseconds")
    credentials: list[Credential] | None = Field(default=None, description="Passkeys that may sign")
    code: str | None = Field(default=None, description="The user must compare it with the one on the phone")


@tool(
    title="Get passkey request",
    action=Action.CONTROL,
    calls=[f"GET {_AUTH}/passkey/challenge", f"GET {_AUTH}/passkey/confirmation"],
    hints=INSPECTS,
    toolset="session",
)
async def get_passkey_request(*, ctx: Context) -> Passkey:
    """Show what WhatsApp asks for when a pairing stops at a passkey: a challenge to sign, or a code to compare."""
    try:
        raw = object_of(await ctx.waha.call(f"GET {_AUTH}/passkey/challenge"), "a challenge")
    except Refused:
        raw = object_of(await ctx.waha.call(f"GET {_AUTH}/passkey/confirmation"), "a code")
        return Passkey(code=text_of(raw.get("code")))
    allowed = raw.get("allowCredentials")
    credentials = [
        Credential(id=found, type=text_of(row.get("type")), transports=texts_of(row.get("transports")) or None)
        for row in map(mapping_of, allowed if isinstance(allowed, list) else [])
        if (found := text_of(row.get("id")))
    ]
    return Passkey(
        challenge=text_of(raw.get("challenge")),
        relying_party=text_of(raw.get("rpId")),
        user_verification=text_of(raw.get("userVerification")),
        timeout=count_of(raw.get("timeout")),
        credentials=credentials or None,
    )


Base64Url = Annotated[str, Field(max_length=20_000, pattern=r"^[A-Za-z0-9_-]+=*$")]


class Assertion(Argument):
    id: Base64Url
    client_data: Base64Url = Field(description="clientDataJSON")
    authenticator_data: Base64Url
    signature: Base64Url
    user_handle: Base64Url | None = None


@tool(
    title="Answer passkey request",
    action=Action.CONTROL,
    calls=[f"POST {_AUTH}/passkey", f"POST {_AUTH}/passkey/confirm"],
    hints=CONFIGURES,
    toolset="session",
    # Whoever is at the other end gains access to the account.
    reaches="everyone",
)
async def answer_passkey_request(
    assertion: Annotated[Assertion, Field(description="What the passkey signed, all in base64url")] | None = None,
    code_matches: Annotated[
        bool, Field(description="True once the user has compared the code and found it the same")
    ] = False,
    *,
    ctx: Context,
) -> Done:
    """Finish a pairing that stopped at a passkey: with the signed challenge, or with the user's word on the code."""
    if (assertion is None) == (not code_matches):
        raise ArgumentError("Give either assertion, or code_matches = true after the user has compared the code")
    if assertion is None:
        return done(await ctx.waha.call(f"POST {_AUTH}/passkey/confirm"), "Confirmed the code")
    response = {
        "clientDataJSON": assertion.client_data,
        "authenticatorData": assertion.authenticator_data,
        "signature": assertion.signature,
    } | ({"userHandle": assertion.user_handle} if assertion.user_handle else {})
    body = {"id": assertion.id, "rawId": assertion.id, "type": "public-key", "response": response}
    return done(await ctx.waha.call(f"POST {_AUTH}/passkey", body=body), "Passed the signature on")
