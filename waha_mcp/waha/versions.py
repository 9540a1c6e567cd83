"""The version of WAHA that introduced each operation, by its release notes, and the advice for older ones."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: The first version with scoped keys, without which nothing limits an agent's key.
SCOPED_KEYS = "2026.4"
#: The first version whose free image (Core) includes everything that was Plus-only before.
ALL_IN_CORE = "2026.6.1"

_GROUP, _SECURITY = "/api/{session}/groups/{id}", "/api/{session}/groups/{id}/settings/security"
_AUTH, _CHANNELS, _PROFILE = "/api/{session}/auth", "/api/{session}/channels", "/api/{session}/profile"

#: Version to the operations that it introduced. Operations not mentioned in the release notes are left out.
_BROUGHT: Mapping[str, tuple[str, ...]] = {
    "2026.9.1": (f"GET {_SECURITY}/member-share-history-mode", f"PUT {_SECURITY}/member-share-history-mode"),
    "2026.8.2": (
        "POST /api/sendSticker",
        f"GET {_SECURITY}/membership-approval",
        f"PUT {_SECURITY}/membership-approval",
        f"GET {_GROUP}/participants/join-requests",
        f"POST {_GROUP}/participants/join-requests/approve",
        f"POST {_GROUP}/participants/join-requests/reject",
        "POST /api/apps/{id}/purge",
    ),
    "2026.8.1": ("GET /api/sessions/{session}/capping", "GET /api/sessions/{session}/timelock"),
    "2026.7.2": (f"GET {_SECURITY}/member-add-mode", f"PUT {_SECURITY}/member-add-mode"),
    "2026.7.1": (
        f"GET {_AUTH}/passkey/challenge",
        f"POST {_AUTH}/passkey",
        f"GET {_AUTH}/passkey/confirmation",
        f"POST {_AUTH}/passkey/confirm",
        "POST /api/keys/media",
        "POST /api/keys/control",
    ),
    "2026.4.3": ("GET /api/{session}/new-message-id",),
    "2026.3.1": ("GET /api/{session}/contacts/{id}",),
    "2025.12.1": ("POST /api/{session}/calls/reject",),
    "2025.11.1": (f"GET {_GROUP}/participants/v2",),
    "2025.8.2": ("POST /api/sendList", "POST /api/sendPollVote"),
    "2025.7.8": ("PUT /api/{session}/contacts/{chatId}",),
    "2025.6.2": ("POST /api/{session}/media/convert/voice", "POST /api/{session}/media/convert/video"),
    "2025.5.4": (
        "GET /api/{session}/lids",
        "GET /api/{session}/lids/count",
        "GET /api/{session}/lids/{lid}",
        "GET /api/{session}/lids/pn/{phoneNumber}",
    ),
    "2025.4.2": ("POST /api/{session}/chats/{chatId}/messages/read",),
    "2025.3.2": ("POST /api/send/buttons/reply", "GET /api/{session}/status/new-message-id"),
    "2025.3.1": ("GET /api/{session}/groups/count",),
    "2025.2.7": (f"GET {_GROUP}/picture", f"PUT {_GROUP}/picture", f"DELETE {_GROUP}/picture"),
    "2025.2.3": (
        f"GET {_PROFILE}",
        f"PUT {_PROFILE}/name",
        f"PUT {_PROFILE}/status",
        f"PUT {_PROFILE}/picture",
        f"DELETE {_PROFILE}/picture",
    ),
    "2025.2.2": (
        f"GET {_CHANNELS}/{{id}}/messages/preview",
        f"POST {_CHANNELS}/search/by-view",
        f"POST {_CHANNELS}/search/by-text",
        f"GET {_CHANNELS}/search/views",
        f"GET {_CHANNELS}/search/countries",
        f"GET {_CHANNELS}/search/categories",
    ),
    "2024.12.6": ("GET /api/{session}/chats/overview", "GET /api/{session}/chats/{chatId}/picture"),
    "2024.12.4": ("POST /api/{session}/groups/join",),
    "2024.12.3": ("POST /api/{session}/groups/refresh",),
}

#: Operation to the version that introduced it.
SINCE: Mapping[str, str] = {each: version for version, brought in _BROUGHT.items() for each in brought}


def older(version: str | None, than: str) -> bool:
    """Whether a version of WAHA, such as "2026.4.3", is older than another; False if it is not known."""
    own, other = _numbers(version or ""), _numbers(than)
    return bool(own) and own < other


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d{4}(?:\.\d+)+", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def lacks_operation(operation: str | None, running: str | None) -> str:
    """The advice if WAHA does not know an operation. `running`: its version; None: not known."""
    since = SINCE.get(operation or "")
    says = f"This WAHA{f' ({running})' if running else ''} does not know the operation (404)"
    if since and (running is None or older(running, since)):
        return f"{says}: it came with WAHA {since}. Ask the user to update WAHA."
    return f"{says}: its version lacks it, or the App's url is not WAHA's. Ask the user to check both."


def only_in_plus(running: str | None) -> str:
    """The advice if WAHA answers that only its Plus image can do something. `running` as above."""
    says = f"This WAHA{f' ({running})' if running else ''} can do that only with its Plus image (422)"
    if running is None or older(running, ALL_IN_CORE):
        return f"{says}: since {ALL_IN_CORE} the free image can do it, too. Ask the user to update WAHA."
    return f"{says}, it says. Ask the user to look at WAHA's image."
