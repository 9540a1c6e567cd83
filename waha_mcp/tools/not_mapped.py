"""The operations of WAHA that no tool calls, with reasons. A test checks that each other operation has a tool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

#: The reasons, with their explanation.
REASONS: Mapping[str, str] = {
    "admin-only": "no session's key opens it",
    "deprecated": "WAHA has a successor",
    "superseded": "another operation does the same and more, and a tool calls that",
    "server-internal": "about the server, or for programs",
    "dangerous": "not for an agent",
}

#: (reason, the operations used instead or an explanation, operations)
_TABLE: list[tuple[str, str, list[str]]] = [
    (
        "admin-only",
        "keys, sessions and the server belong to its operator",
        [
            "POST /api/keys",
            "GET /api/keys",
            "PUT /api/keys/{id}",
            "DELETE /api/keys/{id}",
            "POST /api/sessions",
            "GET /api/server/environment",
            "POST /api/server/stop",
            "GET /api/server/debug/cpu",
            "GET /api/server/debug/heapsnapshot",
            "GET /api/server/debug/browser/trace/{session}",
        ],
    ),
    ("deprecated", "POST /api/sendText", ["GET /api/sendText", "POST /api/reply"]),
    ("deprecated", "POST /api/sendList and POST /api/sendPoll", ["POST /api/sendButtons"]),
    ("deprecated", "POST /api/send/link-custom-preview", ["POST /api/sendLinkPreview"]),
    ("deprecated", "GET /api/{session}/chats/{chatId}/messages", ["GET /api/messages"]),
    ("deprecated", "GET /api/contacts/check-exists", ["GET /api/checkNumberStatus"]),
    ("deprecated", "GET /api/server/version", ["GET /api/version"]),
    ("deprecated", "POST /api/sessions/{session}/start", ["POST /api/sessions/start"]),
    ("deprecated", "POST /api/sessions/{session}/stop", ["POST /api/sessions/stop"]),
    ("deprecated", "POST /api/sessions/{session}/logout", ["POST /api/sessions/logout"]),
    (
        "superseded",
        "GET /api/{session}/chats/overview",
        ["GET /api/{session}/chats", "POST /api/{session}/chats/overview"],
    ),
    ("superseded", "POST /api/{session}/chats/{chatId}/messages/read", ["POST /api/sendSeen"]),
    ("superseded", "GET /api/{session}/contacts/{id}", ["GET /api/contacts"]),
    ("superseded", "GET /api/{session}/groups", ["GET /api/{session}/groups/count"]),
    ("superseded", "GET /api/{session}/lids", ["GET /api/{session}/lids/count"]),
    ("superseded", "GET /api/{session}/groups/{id}/participants/v2", ["GET /api/{session}/groups/{id}/participants"]),
    ("superseded", "GET /api/sessions/{session}", ["GET /api/sessions/{session}/me"]),
    ("server-internal", "whether the server runs", ["GET /ping", "GET /health", "GET /api/server/status"]),
    ("server-internal", "WAHA's own MCP endpoint", ["POST /mcp"]),
    (
        "server-internal",
        "ids for messages that a program makes itself",
        ["GET /api/{session}/new-message-id", "GET /api/{session}/status/new-message-id"],
    ),
    (
        "server-internal",
        "caches of the phone-number apps; purge_waha_app empties them",
        [
            f"{method} /api/apps/{app}/{{session}}/cache/{part}"
            for app in ("argentine-phone-numbers", "brazilian-phone-numbers", "mexican-phone-numbers", "phone-numbers")
            for method, part in (("GET", "memory"), ("GET", "db"), ("GET", "stats"), ("DELETE", "purge"))
        ],
    ),
    ("dangerous", "gives out a key, which an agent must not hold", ["POST /api/keys/control"]),
    ("dangerous", "a picture of all chats, to a key that need not be allowed to read", ["GET /api/screenshot"]),
    (
        "dangerous",
        "the action that it demands is not known, and unknown means no",
        ["PUT /api/{session}/groups/{id}/settings/security/member-share-history-mode"],
    ),
]


def entries() -> Iterator[tuple[str, str, str]]:
    """Each unmapped operation as (operation, reason, the operations used instead or an explanation)."""
    for reason, instead, operations in _TABLE:
        for operation in operations:
            yield operation, reason, instead
