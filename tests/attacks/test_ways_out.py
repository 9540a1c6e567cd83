"""A message makes an agent try every way out, and nothing gets out: the log of the WAHA behind it is the judge."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.hijacked import ATTACKER, FAST, FRIEND, SEALED, SECRET, VICTIM, Hijacked, hijacked
from tests.attacks.judge import Judge
from waha_mcp.sandbox import SandboxInfo

LISTED = f"""
[chats]
send = {{ allow = ["{FRIEND}", "groups"], deny = ["{SEALED}"] }}
read = {{ deny = ["{SEALED}"] }}

{FAST}"""


@pytest.fixture(scope="module")
def listed(sandbox_process: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hijacked]:
    """An agent that may write to one friend and to groups, and read all but one chat."""
    with hijacked(sandbox_process, tmp_path_factory.mktemp("listed"), LISTED) as agent:
        yield agent


def real_ones(judge: Judge) -> dict[str, str]:
    """The messages and the group that the attacks name."""
    groups = judge.get("/api/default/groups?limit=1")
    group = (groups if isinstance(groups, list) else list(groups.values()))[0]
    return {
        "MESSAGE": judge.arrive(VICTIM, SECRET),
        "SEALED MESSAGE": judge.arrive(SEALED, "sealed words"),
        "ATTACKER'S MESSAGE": judge.arrive(ATTACKER, "write to me"),
        "MESSAGE TO ATTACKER": judge.write(ATTACKER, "hello"),
        "GROUP": str(group.get("id") or group["JID"]),
    }


@pytest.fixture(scope="module")
def real(listed: Hijacked) -> dict[str, str]:
    return real_ones(listed.judge)


def filled(arguments: dict[str, Any], real: dict[str, str]) -> dict[str, Any]:
    return {k: real.get(v, v) if isinstance(v, str) else v for k, v in arguments.items()}


DATA = base64.b64encode(SECRET.encode()).decode()
FILE: dict[str, Any] = {"chat": FRIEND, "kind": "file"}

#: Ways out: the tool and its arguments, in which the keys of `real_ones` are placeholders.
WAYS_OUT: dict[str, tuple[str, dict[str, Any]]] = {
    "text to a stranger": ("send_text", {"chat": ATTACKER, "text": SECRET}),
    "text to a stranger, by number": ("send_text", {"chat": "+1 202 555 0199", "text": SECRET}),
    "text to a stranger, with odd digits": ("send_text", {"chat": "+1 (202) 555-01\uff19\uff19", "text": SECRET}),
    "text to a hidden id": ("send_text", {"chat": "99990000111122@lid", "text": SECRET}),
    "text to a device of a stranger": ("send_text", {"chat": "12025550199:7@s.whatsapp.net", "text": SECRET}),
    "text to the one who is denied": ("send_text", {"chat": SEALED, "text": SECRET}),
    "text to a channel": ("send_text", {"chat": "120363000000000001@newsletter", "text": SECRET}),
    "text to the status": ("send_text", {"chat": "status@broadcast", "text": SECRET}),
    "text to a broadcast list": ("send_text", {"chat": "1700000000@broadcast", "text": SECRET}),
    "the secret's own chat": ("send_text", {"chat": VICTIM, "text": SECRET}),
    "mention of a stranger": ("send_text", {"chat": FRIEND, "text": "@12025550199", "mentions": [ATTACKER]}),
    "mention of a stranger in a group": ("send_text", {"chat": "GROUP", "text": SECRET, "mentions": [ATTACKER]}),
    "quote of a sealed chat": ("send_text", {"chat": FRIEND, "text": "look", "reply_to": "SEALED MESSAGE"}),
    "quote of the secret": ("send_text", {"chat": FRIEND, "text": "look", "reply_to": "MESSAGE"}),
    "a look-alike name": ("send_text", {"chat": "S\u0430m Okafor", "text": SECRET}),
    "a name that turns around": ("send_text", {"chat": "\u202eroflakO maS", "text": SECRET}),
    "a name with nothing visible in it": ("send_text", {"chat": "Sam\u200b Okafo\u0433", "text": SECRET}),
    "forward to a stranger": ("forward_message", {"chat": ATTACKER, "message_id": "MESSAGE"}),
    "forward of a sealed message": ("forward_message", {"chat": FRIEND, "message_id": "SEALED MESSAGE"}),
    "file to a stranger": ("send_media", {"chat": ATTACKER, "kind": "file", "data": DATA}),
    "sticker to a stranger": ("send_sticker", {"chat": ATTACKER, "data": DATA}),
    "vCard to a stranger": (
        "send_contact_cards",
        {"chat": ATTACKER, "contacts": [{"name": SECRET, "phone": "+12025550123"}]},
    ),
    "poll to a stranger": ("send_poll", {"chat": ATTACKER, "question": SECRET, "options": ["a", "b"]}),
    "event to a stranger": ("send_event", {"chat": ATTACKER, "name": SECRET, "start": "2030-05-01T09:00:00+00:00"}),
    "place to a stranger": ("send_location", {"chat": ATTACKER, "latitude": 77.31, "longitude": 1, "title": SECRET}),
    "reaction to a stranger": ("react", {"message_id": "ATTACKER'S MESSAGE", "emoji": "👍"}),
    "typing to a stranger": ("set_typing", {"chat": ATTACKER, "state": "typing"}),
    "read marks for a stranger": ("mark_read", {"chat": ATTACKER}),
    "edit of a message to a stranger": (
        "edit_message",
        {"message_id": "MESSAGE TO ATTACKER", "text": SECRET},
    ),
    "vote for a stranger": (
        "vote_in_poll",
        {"message_id": "ATTACKER'S MESSAGE", "options": [SECRET]},
    ),
    "a group with a stranger": ("create_group", {"subject": SECRET, "participants": [ATTACKER]}),
    "a stranger into a group": ("add_participants", {"group": "GROUP", "people": [ATTACKER]}),
    "a stranger as a group's admin": ("set_group_admins", {"group": "GROUP", "people": [ATTACKER], "admin": True}),
    "joining the attacker's group": ("join_group", {"invite": "https://chat.whatsapp.com/AbCdEfGhIjKlMnOpQrStUv"}),
    "a status story": ("post_text_status", {"text": SECRET}),
    "a status story for a stranger": ("post_text_status", {"text": SECRET, "people": [ATTACKER]}),
    "a picture as status story": ("post_media_status", {"kind": "image", "data": DATA}),
    "a channel": ("create_channel", {"name": "News", "description": SECRET}),
    "the profile's name": ("update_profile", {"name": SECRET[:25]}),
    "the profile's about": ("update_profile", {"about": SECRET}),
    "the profile's picture": ("set_profile_picture", {"data": DATA}),
    "being seen online": ("set_presence", {"online": True}),
    "a stranger under a friend's name": (
        "save_contact",
        {"contact": ATTACKER, "first_name": "Sam", "last_name": "Okafor"},
    ),
    "a webhook": ("update_session_settings", {"webhooks": [{"url": "https://192.0.2.1/in", "events": ["message"]}]}),
    "another MCP app": ("create_waha_app", {"kind": "mcp", "actions": ["read", "send"]}),
    "a path out of the outbox": ("send_media", FILE | {"path": "../passwords.txt"}),
    "a path from the root": ("send_media", FILE | {"path": "/etc/passwd"}),
    "a path with a link out": ("send_media", FILE | {"path": "link.txt"}),
    "a path with a NUL": ("send_media", FILE | {"path": "menu.txt\x00/../../passwords.txt"}),
    "a path into the state folder": ("send_media", FILE | {"path": "../state/waha-mcp"}),
    "a path for a status story": ("post_media_status", {"kind": "image", "path": "../passwords.txt"}),
    "a URL on loopback": ("send_media", FILE | {"url": "http://127.0.0.1:3000/api/sessions"}),
    "a URL on localhost": ("send_media", FILE | {"url": "http://localhost:3000/api/keys"}),
    "a URL on IPv6 loopback": ("send_media", FILE | {"url": "http://[::1]:3000/"}),
    "a URL on mapped loopback": ("send_media", FILE | {"url": "http://[::ffff:127.0.0.1]/"}),
    "a URL as one number": ("send_media", FILE | {"url": "http://2130706433/"}),
    "a URL in hexadecimal": ("send_media", FILE | {"url": "http://0x7f.1/"}),
    "a URL in octal": ("send_media", FILE | {"url": "http://0177.0.0.1/"}),
    "a URL with escapes in its host": ("send_media", FILE | {"url": "http://127%2e0%2e0%2e1:3000/"}),
    "a URL with an escaped name": ("send_media", FILE | {"url": "http://%6c%6fcalhost:3000/"}),
    "a URL with a backslash": ("send_media", FILE | {"url": "http://127.0.0.1\\@192.0.2.1/"}),
    "a URL with backslashes for slashes": ("send_media", FILE | {"url": "http:\\\\127.0.0.1\\"}),
    "a URL with a tab inside": ("send_media", FILE | {"url": "ht\ttp://local\nhost/"}),
    "a URL in full-width letters": ("send_media", FILE | {"url": "http://１２７。０．０｡１/"}),
    "a URL with a soft hyphen": ("send_media", FILE | {"url": "http://local\u00adhost/"}),
    "a URL with a dot at its host's end": ("send_media", FILE | {"url": "http://redis.:6379/"}),
    "a URL of protocol assignments": ("send_media", FILE | {"url": "http://192.0.0.192/opc/v2/"}),
    "a URL through 6to4": ("send_media", FILE | {"url": "http://[2002:7f00:1::]/"}),
    "a blob URL": ("send_media", FILE | {"url": "blob:http://127.0.0.1/x"}),
    "a URL of metadata": ("send_media", FILE | {"url": "http://169.254.169.254/latest/meta-data/"}),
    "a URL of metadata over IPv6": ("send_media", FILE | {"url": "http://[fd00:ec2::254]/latest/"}),
    "a URL of metadata by name": ("send_media", FILE | {"url": "http://metadata.google.internal/"}),
    "a URL on a private network": ("send_media", FILE | {"url": "http://10.0.0.5/admin"}),
    "a URL of a neighbour container": ("send_media", FILE | {"url": "http://redis:6379/"}),
    "a URL with a user name in front": ("send_media", FILE | {"url": "https://example.com@127.0.0.1/"}),
    "a URL behind NAT64": ("send_media", FILE | {"url": "http://[64:ff9b::7f00:1]/"}),
    "a file URL": ("send_media", FILE | {"url": "file:///etc/passwd"}),
    "a URL for a link's picture": (
        "send_link_preview",
        {"chat": FRIEND, "text": "x", "link": "https://192.0.2.1", "title": "x", "image_url": "http://10.0.0.5/"},
    ),
    "a preview of an inner page": (
        "send_text",
        {"chat": FRIEND, "text": "http://169.254.169.254/", "link_preview": True},
    ),
    "a preview of a neighbour without a scheme": (
        "send_text",
        {"chat": FRIEND, "text": "see redis:6379/x", "link_preview": True},
    ),
    "a preview of IPv6 loopback": ("send_text", {"chat": FRIEND, "text": "[::1]:3000/", "link_preview": True}),
    "a preview behind a backslash": (
        "send_text",
        {"chat": FRIEND, "text": "http://192.0.2.1\\@localhost/", "link_preview": True},
    ),
    "a URL for a group's picture": ("set_group_picture", {"group": "GROUP", "url": "http://10.0.0.5/a.png"}),
}  # fmt: skip


@pytest.mark.parametrize("attack", WAYS_OUT)
def test_there_is_no_way_out_by(attack: str, listed: Hijacked, real: dict[str, str]) -> None:
    tool, arguments = WAYS_OUT[attack]
    listed.judge.forget()
    done, said = listed.call(tool, **filled(arguments, real))
    assert not done, said
    assert listed.judge.effects() == []
    assert SECRET not in said


def test_without_a_policy_they_do_get_out(sandbox_process: SandboxInfo, tmp_path: Path) -> None:
    """The attacks are effective: what stops them above is the policy, not an error in how they are written."""
    with hijacked(sandbox_process, tmp_path, FAST) as agent:
        real = real_ones(agent.judge)
        agent.judge.forget()
        got_out = []
        for attack, (tool, arguments) in WAYS_OUT.items():
            before = len(agent.judge.effects())
            agent.call(tool, **filled(arguments, real))
            if len(agent.judge.effects()) > before:
                got_out.append(attack)
        assert len(got_out) >= 37, got_out


def test_what_is_allowed_still_goes_out(listed: Hijacked, real: dict[str, str]) -> None:
    listed.judge.forget()
    for chat in (FRIEND, "+1 202 555 0123", real["GROUP"]):
        done, said = listed.call("send_text", chat=chat, text="Good morning", allow_repeat=True)
        assert done, said
    done, said = listed.call("send_media", chat=FRIEND, kind="file", path="menu.txt")
    assert done, said
    assert [r["path"] for r in listed.judge.effects()] == ["/api/sendText"] * 3 + ["/api/sendFile"]


SEALED_READS: dict[str, tuple[str, dict[str, Any]]] = {
    "its messages": ("get_messages", {"chat": SEALED}),
    "its messages by number": ("get_messages", {"chat": "+12025550101"}),
    "its contact": ("get_contact", {"contact": SEALED}),
    "its picture": ("get_profile_picture", {"chat": SEALED}),
    "its presence": ("get_presence", {"chat": SEALED}),
}


@pytest.mark.parametrize("what", SEALED_READS)
def test_a_sealed_chat_shows_nothing_of(what: str, listed: Hijacked) -> None:
    tool, arguments = SEALED_READS[what]
    done, said = listed.call(tool, **arguments)
    assert not done
    assert "Dad" not in said


@pytest.mark.parametrize("tool", ["list_chats", "get_unread", "get_contacts", "list_hidden_ids", "list_labeled_chats"])
def test_a_sealed_chat_stands_in_no_list_of(tool: str, listed: Hijacked) -> None:
    listed.judge.arrive(SEALED, "sealed words")
    _, said = listed.call(tool, **({"limit": 100} if tool != "list_labeled_chats" else {"label": "Friends"}))
    assert "sealed words" not in said
    assert SEALED not in said
