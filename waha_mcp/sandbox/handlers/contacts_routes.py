"""Contacts and the hidden ids of people."""

from __future__ import annotations

import re
from typing import Any

from waha_mcp.sandbox.account import Person
from waha_mcp.sandbox.handlers.lookups import as_chat_id
from waha_mcp.sandbox.registry import Call, handles, paged

#: National prefixes that people write after the country code, which WhatsApp drops.
TRUNK_ZERO = re.compile(r"^(44|49|33|61)0")


@handles("ContactsController_getAll")
def every(call: Call) -> Any:
    """All contacts; some people are listed twice, under their number and under their hidden id."""
    account, query = call.account, call.query
    listed = call.engine.listed_contacts(account)
    if query.get("sortBy") == "name":
        listed.sort(key=lambda each: (each[0].shown or "").casefold())
    elif query.get("sortBy") == "id":
        listed.sort(key=lambda each: (each[0].lid or "") if each[1] else each[0].id)
    if query.get("sortOrder") == "desc":
        listed.reverse()
    return [call.engine.contact(account, person, as_lid=as_lid) for person, as_lid in paged(listed, query)]


@handles("ContactsController_get", "ContactsSessionController_get")
def one(call: Call) -> Any:
    """One contact by number or id; an unknown one is null on most engines, so an empty body."""
    any_id = as_chat_id(call.path.get("id") or call.query["contactId"])
    person = call.account.person(any_id)
    if person is None:
        return call.engine.unknown_contact(call.account, any_id)
    return call.engine.contact(call.account, person, as_lid=any_id == person.lid)


@handles("ContactsSessionController_put")
def update(call: Call) -> Any:
    any_id = as_chat_id(call.path["chatId"])
    person = call.account.person(any_id) or call.account.add_person(Person(any_id))
    person.name = f"{call.body['firstName']} {call.body['lastName']}".strip()
    return {"success": True}


@handles("ContactsController_checkExists", "ChattingController_DEPRECATED_checkNumberStatus")
def check(call: Call) -> Any:
    """Whether a number is on WhatsApp, and its actual chat id."""
    phone = TRUNK_ZERO.sub(r"\1", re.sub(r"\D", "", call.query["phone"].partition("@")[0]))
    person = call.account.people.get(f"{phone}@c.us")
    if person is None:
        return {"numberExists": False}
    return call.engine.number_exists(person)


@handles("ContactsController_getAbout")
def about(call: Call) -> Any:
    person = call.account.person(as_chat_id(call.query["contactId"]))
    return {"about": person.about if person else None}


@handles("ContactsController_getProfilePicture")
def picture(call: Call) -> Any:
    return {"profilePictureURL": call.engine.picture(call.account, as_chat_id(call.query["contactId"]))}


@handles("ContactsController_block", "ContactsController_unblock")
def block(call: Call) -> Any:
    person = call.account.person(as_chat_id(call.body["contactId"]))
    if person is not None:
        person.blocked = call.operation.id == "ContactsController_block"


@handles("LidsController_getAll")
def lids(call: Call) -> Any:
    pairs = [{"lid": person.lid, "pn": person.id} for person in _mapped(call)]
    return paged(pairs, call.query)


@handles("LidsController_getLidsCount")
def lids_count(call: Call) -> Any:
    return {"count": len(_mapped(call))}


@handles("LidsController_findPNByLid")
def number_of(call: Call) -> Any:
    lid = call.path["lid"]
    lid = lid if "@" in lid else f"{lid}@lid"
    person = call.account.by_lid.get(lid)
    return {"lid": lid, "pn": person.id if person and person.id != lid else None}


@handles("LidsController_findLIDByPhoneNumber")
def lid_of(call: Call) -> Any:
    number = as_chat_id(call.path["phoneNumber"])
    person = call.account.people.get(number)
    return {"lid": person.lid if person else None, "pn": number}


def _mapped(call: Call) -> list[Person]:
    return [person for lid, person in call.account.by_lid.items() if person.id != lid]
