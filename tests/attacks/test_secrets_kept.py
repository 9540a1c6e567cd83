"""Secrets stay secret: the key in every form, view-once media, tools that were never offered."""

from __future__ import annotations

import base64
import html
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.attacks.front import Front, answer, says
from tests.attacks.hijacked import FAST, FRIEND, Hijacked, hijacked
from waha_mcp.sandbox import SandboxInfo

FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in lower case": str.lower,
    "in upper case": str.upper,
    "each character for URLs": lambda key: "".join(f"%{ord(each):02x}" for each in key),
    "each character for URLs, upper": lambda key: "".join(f"%{ord(each):02X}" for each in key),
    "for URLs twice": lambda key: quote("".join(f"%{ord(each):02X}" for each in key), safe=""),
    "escaped for JSON": lambda key: "".join(f"\\u{ord(each):04x}" for each in key),
    "escaped for JavaScript": lambda key: "".join(f"\\x{ord(each):02X}" for each in key),
    "by numbers for HTML": lambda key: "".join(f"&#{ord(each)};" for each in key),
    "by hex numbers for HTML, twice": lambda key: html.escape("".join(f"&#x{ord(each):x};" for each in key)),
    "in hex": lambda key: key.encode().hex(),
    "in base64": lambda key: base64.b64encode(key.encode()).decode(),
    "in base64 behind one byte": lambda key: base64.b64encode(f":{key}\r\n".encode()).decode(),
    "in base64 behind a name": lambda key: base64.b64encode(f"agent:{key}".encode()).decode(),
    "in base64 in lines": lambda key: base64.encodebytes(f"Accept: *\n{'X' * 30}: {key}\n".encode()).decode(),
    "over two lines": lambda key: f"{key[:9]}\n {key[9:]}",
    "in base64 of all headers": lambda key: base64.urlsafe_b64encode(
        f"Accept: *\nX-Api-Key: {key}\n".encode()
    ).decode(),
}
#: Every form, by name.
forms = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())


@pytest.fixture(scope="module")
def reader(sandbox: SandboxInfo, way: Front, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hijacked]:
    """An agent whose trail keeps texts."""
    folder = tmp_path_factory.mktemp("reader")
    with hijacked(sandbox, folder, 'audit = "text"\n' + FAST, url=way.url) as agent:
        yield agent


def middle(written: str) -> str:
    """The part of a form of the key that must not be left: in base64, the ends depend on the neighbours."""
    return written[len(written) // 2 :][:12]


def trail(agent: Hijacked) -> list[dict[str, Any]]:
    lines = [line for file in agent.state.rglob("trail.jsonl") for line in file.read_text().splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


@forms
def test_a_key_that_waha_shows_in_a_message_does_not_reach_the_agent(
    form: Callable[[str], str], reader: Hijacked, sandbox: SandboxInfo
) -> None:
    written = form(sandbox.keys["full"])
    reader.judge.arrive(FRIEND, f"trace: {written} <end>")
    done, said = reader.call("get_messages", chat=FRIEND, limit=3)
    assert done
    assert "trace: " in said
    assert "[key]" in said
    shown = [each.get("text", "") for each in json.loads(said)["messages"]]
    assert not [text for text in shown if middle(written) in text]


@forms
def test_a_key_in_a_refusal_of_waha_reaches_neither_agent_nor_log(
    form: Callable[[str], str], reader: Hijacked, way: Front, sandbox: SandboxInfo
) -> None:
    written = form(sandbox.keys["full"])
    body = json.dumps({"statusCode": 400, "message": f"no good: {written}"}).encode()
    way.rules["GET /api/default/chats"] = says(answer(body, "400 Bad Request"))
    done, said = reader.call("list_chats")
    way.rules.clear()
    assert not done
    assert "no good: " in said
    assert middle(written) not in said
    assert middle(written) not in reader.log()


@forms
def test_a_key_that_the_agent_writes_does_not_stand_in_the_trail(
    form: Callable[[str], str], reader: Hijacked, sandbox: SandboxInfo
) -> None:
    written = form(sandbox.keys["full"])
    text = f"trail of {written} <end>"
    before = len(trail(reader))
    assert reader.call("send_text", chat=FRIEND, text=text)[0]
    reader.judge.await_(lambda: len(trail(reader)) > before)
    entry = trail(reader)[-1]
    assert entry["arguments"]["text"].startswith("trail of ")
    assert middle(written) not in entry["arguments"]["text"]
    # The text itself is sent as it is: an effect is never changed.
    assert reader.judge.delivered(FRIEND, text) == 1


# View-once media

IMAGE: dict[str, Any] = {"imageMessage": {"mimetype": "image/jpeg"}}
ONCE: dict[str, dict[str, Any]] = {
    "v1": {"Message": {"viewOnceMessage": {"message": IMAGE}}},
    "v2": {"Message": {"viewOnceMessageV2": {"message": IMAGE}}},
    "v2 extension": {"Message": {"viewOnceMessageV2Extension": {"message": IMAGE}}},
    "disappearing, too": {"Message": {"ephemeralMessage": {"message": {"viewOnceMessageV2": {"message": IMAGE}}}}},
    "unwrapped by GOWS": {"Message": IMAGE, "IsViewOnce": True},
    "unwrapped by GOWS, v2": {"Message": IMAGE, "IsViewOnceV2": True},
    "only the file's flag": {"Message": {"imageMessage": {"mimetype": "image/jpeg", "viewOnce": True}}},
    "only the raw message": {"Message": IMAGE, "RawMessage": {"viewOnceMessageV2": {"message": IMAGE}}},
    "only the key, as Baileys says it": {"Message": IMAGE, "key": {"isViewOnce": True}},
    "a browser's flag": {"Message": None, "Info": {}, "type": "image", "isViewOnce": True},
}


@pytest.fixture(scope="module")
def looking(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hijacked, Path]]:
    """An agent whose App saves, links and transcribes, and the folder that would hold all copies."""
    folder = tmp_path_factory.mktemp("looking")
    heard = f"open({str(folder / 'downloads' / 'heard')!r}, 'w')"
    command = json.dumps([sys.executable, "-c", heard])
    (folder / "downloads").mkdir()
    policy = f'downloads = "downloads"\nmedia_links = true\ntranscriber = {{ command = {command} }}\n' + FAST
    with hijacked(sandbox, folder, policy) as agent:
        yield agent, folder / "downloads"


@pytest.mark.parametrize("save", [False, True], ids=["looked at", "saved"])
@pytest.mark.parametrize("raw", ONCE.values(), ids=ONCE.keys())
def test_media_to_be_seen_once_is_neither_fetched_nor_saved(
    raw: dict[str, Any], save: bool, looking: tuple[Hijacked, Path]
) -> None:
    agent, folder = looking
    message = agent.judge.arrive(FRIEND, "only for you", mimetype="image/jpeg", raw=raw)
    agent.judge.forget()
    done, said = agent.call("get_media", message_id=message, save=save)
    assert not done
    assert "seen once" in said
    assert_no_copy(agent, folder)


@pytest.mark.parametrize("mimetype", ["audio/ogg", "video/mp4", "image/png"], ids=["sound", "film", "picture"])
def test_sound_and_film_to_be_heard_once_are_neither(mimetype: str, looking: tuple[Hijacked, Path]) -> None:
    agent, folder = looking
    raw = {"IsViewOnceV2": True}
    message = agent.judge.arrive(FRIEND, "only for you", mimetype=mimetype, raw=raw)
    agent.judge.forget()
    assert not agent.call("get_media", message_id=message, save=True)[0]
    assert_no_copy(agent, folder)


def test_media_to_be_seen_once_is_not_forwarded(looking: tuple[Hijacked, Path]) -> None:
    agent, _ = looking
    agent.judge.ask("POST", "/sandbox/engine", {"has": ["ChattingController_forwardMessage"]})
    message = agent.judge.arrive(FRIEND, "only for you", mimetype="image/jpeg", raw={"IsViewOnce": True})
    agent.judge.forget()
    done, said = agent.call("forward_message", message_id=message, chat=FRIEND)
    agent.judge.lacks()
    assert not done
    assert "seen once" in said
    assert agent.judge.effects() == []


def assert_no_copy(agent: Hijacked, folder: Path) -> None:
    assert list(folder.iterdir()) == []
    for request in agent.judge.requests():
        assert request["method"] == "GET"
        assert "downloadMedia=true" not in request["query"]
        assert "/api/files/" not in request["path"]


def test_other_media_is_saved_all_the_same(looking: tuple[Hijacked, Path]) -> None:
    """Shows that the cases above do not fail for another reason."""
    agent, folder = looking
    message = agent.judge.arrive(FRIEND, "for all", mimetype="image/jpeg", raw={"IsViewOnce": False})
    done, said = agent.call("get_media", message_id=message, save=True)
    assert done, said
    [saved] = folder.iterdir()
    saved.unlink()


# Tools that are gone


@pytest.fixture(scope="module")
def narrowed(sandbox: SandboxInfo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hijacked]:
    """An agent that was listed with tools to send, which its key no longer allows; reactions were never listed."""
    body: dict[str, Any] = {"isAdmin": False, "session": "default", "isActive": True}
    flags = {"read": True, "send": True}
    with hijacked(sandbox, tmp_path_factory.mktemp("narrowed"), 'exclude = ["react"]\n' + FAST, key="full") as admin:
        key = admin.judge.ask("POST", "/api/keys", body | {"actions": flags})
    policy = 'exclude = ["react"]\n' + FAST
    with hijacked(sandbox, tmp_path_factory.mktemp("narrowed"), policy, key=key["key"]) as agent:
        agent.judge.ask("PUT", f"/api/keys/{key['id']}", body | {"actions": {"read": True}})
        assert not agent.call("send_text", chat=FRIEND, text="the last one")[0]
        agent.judge.forget()
        yield agent


SENDING = ("send_text", "send_media", "send_poll", "send_location", "mark_read", "forward_message", "edit_message")


@pytest.mark.parametrize("name", SENDING)
def test_a_tool_that_is_gone_does_nothing_and_says_why(name: str, narrowed: Hijacked) -> None:
    done, said = narrowed.call(name, chat=FRIEND, text="once more")
    assert not done
    assert said.startswith(f"{name} was offered and is no longer available since ")
    assert "refused by WAHA for this key" in said
    assert narrowed.judge.effects() == []


@pytest.mark.parametrize(
    "name", ["react", "control_session", "create_waha_app", "get_qr_code", "update_session_settings"]
)
def test_a_tool_that_was_never_listed_is_not_hinted_at(name: str, narrowed: Hijacked) -> None:
    assert narrowed.call(name) == (False, f"Unknown tool: {name}")
    assert narrowed.judge.requests() == []
