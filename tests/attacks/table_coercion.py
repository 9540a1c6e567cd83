"""The defences of arguments in odd forms, each with the cases that must fail without it."""

from __future__ import annotations

from tests.attacks.defences import Defence

_FORGIVING = "tools/forgiving.py"
_AUDIENCE = "coercion::an_audience_that_is_blank_or_misnamed_is_not_everybody"

COERCION = (
    Defence(
        "a blank argument is an error where leaving it out would reach more people",
        ((_FORGIVING, "elif value is not None and _marked(field, Narrows):", "elif False:"),),
        (f"{_AUDIENCE}[{{'people': ''}}]", f"{_AUDIENCE}[{{'people': ' '}}]"),
    ),
    Defence(
        "an unknown property is an error",
        ((_FORGIVING, "if name in known or name not in HOST_MADE}", "if name in known}"),),
        (f"{_AUDIENCE}[{{'audience': ['12025550123@c.us']}}]",),
    ),
    Defence(
        "an empty text removes nothing next to another argument",
        (
            (
                _FORGIVING,
                'return kept if said else kept | dict.fromkeys(cleared, "")',
                'return kept | dict.fromkeys(cleared, "")',
            ),
        ),
        ("coercion::a_blank_that_takes_away_does_so_alone",),
    ),
)
