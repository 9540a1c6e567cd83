"""Tools for contacts in the toolset `core`."""

from typing import Annotated

from pydantic import AfterValidator, Field

from waha_mcp.app.actions import Action
from waha_mcp.tools.catalog import READS, Context, tool
from waha_mcp.tools.paging import Page, offset_of, slice_of
from waha_mcp.tools.params import Cursor, Limit
from waha_mcp.waha.errors import BadAnswer
from waha_mcp.waha.marks import BareChatId
from waha_mcp.waha.models import Contact, Result
from waha_mcp.waha.parsing import chat_id_of, object_of
from waha_mcp.whatsapp.folding import fold
from waha_mcp.whatsapp.ids import parse_phone, phone_of

Phone = Annotated[
    str,
    AfterValidator(parse_phone),
    Field(description="With + and country code"),
]


class Contacts(Page):
    contacts: list[Contact]


@tool(title="List contacts", action=Action.READ, calls=["GET /api/contacts/all"], hints=READS)
async def get_contacts(limit: Limit = 50, cursor: Cursor | None = None, *, ctx: Context) -> Contacts:
    """List the contacts by name, with numbers and ids."""
    offset = offset_of("contacts", cursor)
    await ctx.directory.load()
    known = [entry for entry in ctx.directory.entries() if entry.contact is not None]
    known.sort(key=lambda entry: (entry.shown is None, fold(entry.shown or ""), entry.id))
    shown, more = slice_of("contacts", known, limit, offset)
    contacts = [
        Contact(
            id=entry.id,
            name=entry.name,
            calls_themselves=entry.push_name if entry.push_name != entry.name else None,
            phone=phone_of(entry.id),
            saved=entry.contact.saved,
            blocked=entry.contact.blocked,
        )
        for entry in shown
        if entry.contact is not None
    ]
    page = Contacts(contacts=contacts, not_told=ctx.directory.not_known("contacts"), **more)
    return page.resumable("contacts", range(offset + 1, offset + 1 + len(shown)))


class NumberCheck(Result):
    on_whatsapp: bool
    chat: BareChatId | None = Field(
        None, description="The chat id to write to; its digits may differ from the number asked for"
    )


@tool(title="Check a number", action=Action.READ, calls=["GET /api/contacts/check-exists"], hints=READS)
async def check_number(phone: Phone, *, ctx: Context) -> NumberCheck:
    """Tell whether a number has WhatsApp, before a first message to it."""
    answer = await ctx.waha.call("GET /api/contacts/check-exists", query={"phone": phone})
    found = object_of(answer, "about a number")
    exists = found.get("numberExists")
    if not isinstance(exists, bool):
        raise BadAnswer("WAHA's answer does not say whether the number is on WhatsApp. Try again later.")
    return NumberCheck(on_whatsapp=exists, chat=chat_id_of(found.get("chatId")) if exists else None)
