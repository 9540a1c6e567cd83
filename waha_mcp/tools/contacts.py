"""The toolset `contacts`: details of a person, pictures, hidden ids, blocking, the address book."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from waha_mcp.app.actions import Action
from waha_mcp.tools.catalog import DESTROYS, READS, SETS, Context, tool
from waha_mcp.tools.paging import Page, offset_of, slice_of
from waha_mcp.tools.params import Cursor, Limit, OwnChat, OwnPerson, Person, SavedName
from waha_mcp.tools.results import Done, done
from waha_mcp.tools.several import NotTold, gather
from waha_mcp.waha.errors import NotFound
from waha_mcp.waha.marks import BareChatId, RowId
from waha_mcp.waha.models import Result, contact_from
from waha_mcp.waha.parsing import chat_id_of, kind_of_chat, mapping_of, object_of, text_of
from waha_mcp.waha.rows import WholeList
from waha_mcp.whatsapp.ids import phone_of
from waha_mcp.whatsapp.untrusted import Name, Words

Refresh = Annotated[bool, Field(description="Ask WhatsApp anew instead of WAHA's cache of a day; not often")]


class ContactDetails(Result):
    id: RowId
    name: Name | None = None
    phone: str | None = Field(None, description="E.164")
    about: Words | None = Field(None, description="What they say about themselves")
    saved: bool | None = Field(None, description="Whether it is in the address book")
    blocked: bool | None = None
    not_told: NotTold = None


#: The two requests of get_contact, to the fields that depend on each.
_TELLS = {"contact": ("name", "saved", "blocked"), "about": ("about",)}


@tool(
    title="Contact details",
    action=Action.READ,
    calls=["GET /api/{session}/contacts/{id}", "GET /api/contacts/about"],
    hints=READS,
    toolset="contacts",
)
async def get_contact(contact: OwnPerson, *, ctx: Context) -> ContactDetails:
    """Show one person: name, number, what they say about themselves, whether saved or blocked."""

    async def row() -> Mapping[str, Any]:
        answer = await ctx.waha.call("GET /api/{session}/contacts/{id}", path={"id": contact})
        return object_of(answer, "a contact", "id", "name", "pushname", "number")

    async def about() -> Mapping[str, Any]:
        answer = await ctx.waha.call("GET /api/contacts/about", query={"contactId": contact})
        return object_of(answer, "what somebody says about themselves", "about")

    told, not_told = await gather({"contact": row, "about": about})
    known = told.get("contact", {})
    found = contact_from({**known, "id": known.get("id") or contact})
    return ContactDetails(
        id=found.id if found else contact,
        name=(found.name or found.calls_themselves) if found else None,
        phone=found.phone if found else phone_of(contact),
        about=text_of(told.get("about", {}).get("about")),
        saved=found.saved if found else None,
        blocked=found.blocked if found else None,
        not_told=[field for each in not_told or () for field in _TELLS[each]] or None,
    )


class Picture(Result):
    chat: BareChatId
    url: str | None = Field(None, description="Left out where there is none, or where it is hidden from us")


_PICTURES = {
    "person": ("GET /api/contacts/profile-picture", "contactId", "profilePictureURL"),
    "group": ("GET /api/{session}/groups/{id}/picture", "id", "url"),
}
_CHAT_PICTURE = ("GET /api/{session}/chats/{chatId}/picture", "chatId", "url")


@tool(
    title="Profile picture",
    action=Action.READ,
    calls=[operation for operation, _, _ in [*_PICTURES.values(), _CHAT_PICTURE]],
    hints=READS,
    toolset="contacts",
)
async def get_profile_picture(chat: OwnChat, refresh: Refresh = False, *, ctx: Context) -> Picture:
    """Get the address of the picture of a person, group or channel."""
    operation, name, field = _PICTURES.get(kind_of_chat(chat), _CHAT_PICTURE)
    query: dict[str, object] = {"refresh": refresh}
    in_path = f"{{{name}}}" in operation
    answer = await ctx.waha.call(
        operation, path={name: chat} if in_path else None, query=query if in_path else query | {name: chat}
    )
    return Picture(chat=chat, url=text_of(object_of(answer, "a picture", field).get(field)))


class HiddenId(Result):
    chat: str | None = Field(None, description="The chat id with the phone number; left out where it is not known")
    phone: str | None = Field(None, description="E.164")
    lid: str | None = Field(None, description="The hidden id of the same person; left out where it is not known")


def _hidden_id(raw: object) -> HiddenId:
    pair = mapping_of(raw)
    chat = chat_id_of(pair.get("pn"))
    return HiddenId(chat=chat, phone=phone_of(chat) if chat else None, lid=chat_id_of(pair.get("lid")))


@tool(
    title="Match a hidden id",
    action=Action.READ,
    calls=["GET /api/{session}/lids/{lid}", "GET /api/{session}/lids/pn/{phoneNumber}"],
    hints=READS,
    toolset="contacts",
)
async def match_hidden_id(contact: OwnPerson, *, ctx: Context) -> HiddenId:
    """Find the phone number behind a hidden id (...@lid), or the hidden id of a phone number."""
    if contact.endswith("@lid"):
        answer = await ctx.waha.call("GET /api/{session}/lids/{lid}", path={"lid": contact})
    else:
        answer = await ctx.waha.call("GET /api/{session}/lids/pn/{phoneNumber}", path={"phoneNumber": contact})
    found = _hidden_id(object_of(answer, "a pair of ids", "lid", "pn"))
    if found.chat is None or found.lid is None:
        raise NotFound(f"WAHA does not know the other id of {contact}: it learns it when the person writes.")
    return found


class HiddenIds(Page):
    people: list[HiddenId]


@tool(
    title="List hidden ids",
    action=Action.READ,
    calls=["GET /api/{session}/lids"],
    hints=READS,
    toolset="contacts",
)
async def list_hidden_ids(limit: Limit = 50, cursor: Cursor | None = None, *, ctx: Context) -> HiddenIds:
    """List the known pairs of hidden id (...@lid) and phone number."""
    offset = offset_of("lids", cursor)
    rows = await WholeList(ctx.waha, "GET /api/{session}/lids", "hidden ids").read()
    if rows.error is not None and not rows.rows:
        raise rows.error
    # All of them, since WAHA also counts those that may not be read.
    known = [_hidden_id(row) for row in rows.rows if chat_id_of(row.get("lid"))]
    readable = [each for each in known if all(ctx.readable(id) for id in (each.lid, each.chat) if id)]
    shown, more = slice_of("lids", readable, limit, offset)
    return HiddenIds(people=list(shown), not_told=[f"hidden ids: {rows.gap}"] if rows.gap else None, **more)


@tool(
    title="Block a contact",
    action=Action.SEND,
    calls=["POST /api/contacts/block", "POST /api/contacts/unblock"],
    hints=DESTROYS,
    toolset="contacts",
)
async def block_contact(
    contact: Person,
    blocked: Annotated[bool, Field(description="False unblocks")] = True,
    *,
    ctx: Context,
) -> Done:
    """Block a person, who can then neither write nor call, or unblock them."""
    operation = "POST /api/contacts/block" if blocked else "POST /api/contacts/unblock"
    answer = await ctx.waha.call(operation, body={"contactId": contact})
    return done(answer, f"{'Blocked' if blocked else 'Unblocked'} {contact}")


@tool(
    title="Save a contact",
    action=Action.SEND,
    calls=["PUT /api/{session}/contacts/{chatId}"],
    hints=SETS,
    toolset="contacts",
)
async def save_contact(
    # Counts as reached, since the App's lists may use names of the address book.
    contact: Person,
    first_name: Annotated[str, SavedName(), Field(min_length=1, max_length=100, description="First name")],
    last_name: Annotated[str, SavedName(), Field(max_length=100, description="Last name")] = "",
    *,
    ctx: Context,
) -> Done:
    """Save a person in the address book of the account's phone, or rename them there."""
    answer = await ctx.waha.call(
        "PUT /api/{session}/contacts/{chatId}",
        path={"chatId": contact},
        body={"firstName": first_name, "lastName": last_name},
    )
    return done(answer, f"Saved {contact} as {f'{first_name} {last_name}'.strip()}")
