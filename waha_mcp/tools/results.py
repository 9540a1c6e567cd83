"""Result models that several toolsets share, and the parsing of WAHA's answers to changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from waha_mcp.waha.errors import LOOK_FIRST, OutcomeUnknown
from waha_mcp.waha.marks import BareChatId, Worded
from waha_mcp.waha.models import Result
from waha_mcp.waha.parsing import chat_id_of, first_of, mapping_of, text_of


class Done(Result):
    done: Annotated[str, Worded()] = Field(description="What was done")


def confirmed(answer: Any) -> None:
    """Check the type of WAHA's answer to a change: null, true, or an object or list.

    Raises:
        OutcomeUnknown: anything else; perhaps from a proxy before WAHA.
    """
    if not (answer is None or answer is True or isinstance(answer, Mapping | list)):
        raise OutcomeUnknown(
            "WAHA, or something in front of it, answered neither that this was done nor that it was refused, so its "
            f"outcome is unknown. {LOOK_FIRST}"
        )


def done(answer: Any, what: str) -> Done:
    """The result of a change, from WAHA's answer; raises as `confirmed`."""
    confirmed(answer)
    return Done(done=what)


def changed_session(answer: Any) -> Mapping[str, Any]:
    """WAHA's answer to a change of the session: the session itself.

    Raises:
        OutcomeUnknown: it is anything else.
    """
    raw = mapping_of(answer)
    if text_of(raw.get("name")) is None:
        raise OutcomeUnknown(f"WAHA's answer is not the session, so the outcome is unknown. {LOOK_FIRST}")
    return raw


class Outcome(Result):
    person: BareChatId
    ok: bool
    why: str | None = Field(None, description="Of one that failed: why")


class Outcomes(Result):
    done: Annotated[str, Worded()] = Field(description="What was asked for")
    people: list[Outcome] | None = Field(None, description="How it went for each; left out where not known")


_WHY = {
    "401": "they have blocked this account",
    "403": "their privacy settings ask for an invite link",
    "404": "not found: not in the group, or not on WhatsApp",
    "408": "they left a short while ago",
    "409": "they are in the group already",
}


def outcomes(answer: Any, what: str, *, readable: bool) -> Outcomes:
    """Parse the outcome per person: a list of objects, or one object keyed by chat id, depending on the engine.

    `readable`: whether the group may be read; else the outcomes, which reveal its members, are left out.

    Raises as `confirmed`.
    """
    confirmed(answer)
    if not readable:
        return Outcomes(done=what, people=None)
    rows = answer if isinstance(answer, list) else []
    if isinstance(answer, Mapping):
        rows = [{**value, "id": key} for key, value in answer.items() if isinstance(value, Mapping)]
    people = [found for row in rows if (found := _outcome(mapping_of(row)))]
    return Outcomes(done=what, people=people or None)


def _outcome(row: Mapping[str, Any]) -> Outcome | None:
    person = chat_id_of(first_of(row, "requesterId", "jid", "JID", "id"))
    if person is None:
        return None
    code = str(first_of(row, "status", "error", "Error", "code") or "200")
    ok = row["success"] if isinstance(row.get("success"), bool) else code in ("0", "200")
    return Outcome(person=person, ok=ok, why=None if ok else _WHY.get(code, f"WhatsApp said {code}"[:40]))
