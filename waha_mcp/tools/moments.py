"""Times in arguments: what `since`, `until` and appointments take."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, WithJsonSchema
from pydantic_core.core_schema import ValidationInfo

from waha_mcp.history.times import FIXED, Use, moment


def _as(use: Use) -> BeforeValidator:
    """The validation context's `zone` is that of times without one; None, or no context: the machine's."""

    def read(value: Any, info: ValidationInfo) -> Any:
        return moment(value, (info.context or {}).get("zone"), use)

    return BeforeValidator(read)


def text(description: str) -> WithJsonSchema:
    """The schema of a time."""
    return WithJsonSchema({"type": "string", "description": description})


SINCE, UNTIL = _as("since"), _as("until")
Since = Annotated[AwareDatetime, SINCE, text("Date, time, yesterday, monday, 12h, 7d")]
Until = Annotated[AwareDatetime, UNTIL, text("As since; a day counts whole")]
Appointment = Annotated[AwareDatetime, _as("at"), text(f"{FIXED[0].upper()}{FIXED[1:]}")]
