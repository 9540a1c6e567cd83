"""The phone-number caches: cached look-ups in memory and in the database."""

from __future__ import annotations

from typing import Any

from waha_mcp.sandbox.answers import Refusal
from waha_mcp.sandbox.registry import Call, handles, paged

APPS = (
    "ArgentinePhoneNumbersController", "BrazilianPhoneNumbersController", "MexicanPhoneNumbersController",
    "PhoneNumbersController",
)  # fmt: skip


def entries(call: Call) -> list[dict[str, Any]]:
    """The cached look-ups; the first use fills the cache from the account's first contacts."""
    session = call.current
    if session is None:
        name = call.path["session"]
        raise Refusal(422, {"error": f'Session "{name}" does not exist', "session": name})
    app = call.operation.id.partition("_")[0]
    if app not in session.number_caches:
        people = list(session.account.people.values())[1:6] if session.account else []
        session.number_caches[app] = [
            {"phone": person.id.partition("@")[0], "chatId": person.id, "exists": True} for person in people
        ]
    return session.number_caches[app]


@handles(*(f"{app}_memory" for app in APPS), *(f"{app}_db" for app in APPS))
def listed(call: Call) -> Any:
    return paged(entries(call), call.query)


@handles(*(f"{app}_stats" for app in APPS))
def stats(call: Call) -> Any:
    count = len(entries(call))
    return {"memory": {"size": count}, "db": {"size": count}}


@handles(*(f"{app}_purge" for app in APPS))
def purge(call: Call) -> Any:
    deleted = len(entries(call))
    entries(call).clear()
    return {"deleted": deleted}
