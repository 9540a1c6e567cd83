"""Looking at files that people sent: only from WAHA itself, bounded, and never with a key that has more rights."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from PIL import Image
from pydantic import SecretStr

from tests.harness import Admin, app_for
from tests.platforms import only_mine
from waha_mcp.bridge import Bridge
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.tools.catalog import ArgumentError
from waha_mcp.tools.core import attachments
from waha_mcp.tools.pictures import LONG_SIDE, NotShown, shown
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import BadAnswer, NotFound, Refused

pytestmark = pytest.mark.anyio


async def message_of(bridge: Bridge, chat: str, kind: str) -> str:
    found = (await bridge.call("get_messages", {"chat": chat, "kind": kind, "limit": 1})).model_dump()["messages"]
    message_id: str = found[0]["id"]
    return message_id


async def look(bridge: Bridge, chat: str, kind: str, **more: Any) -> Any:
    return await bridge.call("get_media", {"message_id": await message_of(bridge, chat, kind), **more})


async def test_a_picture_comes_as_an_image_from_the_waha_that_is_configured(bridge: Bridge, admin: Admin) -> None:
    result = await look(bridge, "Maya Lindqvist", "image")
    [image] = result.attachments
    assert (image.kind, image.mimetype) == ("image", "image/jpeg")
    assert image.data.startswith(b"\xff\xd8\xff")
    # The sandbox's media links name another host, which cannot be reached.
    assert [r["status"] for r in await admin.requests() if r["path"].startswith("/api/files/")] == [200]
    assert "waha.example.com" not in result.model_dump_json()
    assert "base64" not in result.model_dump_json()


async def test_a_voice_note_comes_as_audio_and_says_how_to_turn_it_into_text(bridge: Bridge) -> None:
    result = await look(bridge, "Sam Okafor", "voice")
    assert [attachment.kind for attachment in result.attachments] == ["audio"]
    assert "transcriber" in result.note


@pytest.mark.slow
async def test_a_voice_note_is_turned_into_text_by_the_command_that_the_app_names(
    sandbox: SandboxInfo, tmp_path: Path
) -> None:
    script = tmp_path / "listen.py"
    script.write_text(
        "import os, sys\n"
        "assert open(sys.argv[1], 'rb').read(4) == b'OggS'\n"
        "assert not any(name.startswith('WAHA_') for name in os.environ)\n"
        "print('See you at eight\\u202e')\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-X", "utf8", str(script), "{file}"]
    app = app_for(sandbox, sandbox.keys["read"], transcriber={"command": command})
    async with Bridge(app) as bridge:
        heard = await look(bridge, "Sam Okafor", "voice")
    assert heard.transcript == "See you at eight"
    # Sound that a client cannot play to a model reaches it as tens of thousands of tokens.
    assert not heard.attachments


@pytest.mark.slow
async def test_a_transcriber_that_fails_takes_nothing_else_along(sandbox: SandboxInfo) -> None:
    app = app_for(sandbox, sandbox.keys["read"], transcriber={"command": ["/no/such/program"]})
    async with Bridge(app) as bridge:
        result = await look(bridge, "Sam Okafor", "voice")
        assert result.attachments
        assert "cannot be started" in result.note


async def test_a_text_document_comes_as_text_in_pages(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waha_mcp.tools.core.attachments.TEXT_PAGE", 20)
    first = await look(bridge, "Project Kestrel", "document")
    assert first.filename == "week.csv"
    rest = await look(bridge, "Project Kestrel", "document", text_from=20)
    assert first.text + rest.text == "day,visits\nMon,812\nTue,934\nWed,1021\n"[: 20 + len(rest.text)]
    assert first.text_left == len("day,visits\nMon,812\nTue,934\nWed,1021\n") - 20


async def test_other_files_are_described(bridge: Bridge) -> None:
    result = await look(bridge, "Maya Lindqvist", "document")
    assert (result.mimetype, result.filename) == ("application/pdf", "floor-plan-v3.pdf")
    assert not result.attachments
    assert "save=true" in result.note


async def test_a_file_that_whatsapp_no_longer_has_is_said_to_be_gone(bridge: Bridge) -> None:
    with pytest.raises(NotFound, match="no longer"):
        await look(bridge, "Dad 👨‍🔧", "image")


async def asked(admin: Admin) -> list[str]:
    """The queries of the requests for single messages with their files."""
    return [
        r["query"] for r in await admin.requests() if "/messages/" in r["path"] and "downloadMedia=true" in r["query"]
    ]


async def test_a_file_that_whatsapp_no_longer_has_is_asked_for_once_more(bridge: Bridge, admin: Admin) -> None:
    message = await message_of(bridge, "Dad 👨‍🔧", "image")
    await admin.clear()
    with pytest.raises(NotFound, match=r"no longer.*phone"):
        await bridge.call("get_media", {"message_id": message})
    assert len(await asked(admin)) == 2


async def test_a_file_that_the_phone_gives_once_more_is_shown(bridge: Bridge, admin: Admin) -> None:
    message = await message_of(bridge, "Maya Lindqvist", "image")
    row = await admin.request("GET", f"/api/default/chats/all/messages/{message}?downloadMedia=true")
    gone = row | {"media": {"url": None, "mimetype": "image/jpeg", "error": {"message": "gone"}}}
    await admin.clear()
    # The first one is the request without the file.
    await admin.fault("/api/default/chats/*/messages/*", method="GET", count=2, body=json.dumps(gone))
    result: Any = await bridge.call("get_media", {"message_id": message})
    assert result.attachments
    assert len(await asked(admin)) == 2


async def test_a_copy_that_waha_has_deleted_meanwhile_is_fetched_anew(bridge: Bridge, admin: Admin) -> None:
    message = await message_of(bridge, "Maya Lindqvist", "image")
    await admin.clear()
    await admin.fault("/api/files/*", status=404, body='{"error":{"code":404,"key":"FILE_NOT_FOUND"}}')
    result: Any = await bridge.call("get_media", {"message_id": message})
    assert result.attachments
    assert len(await asked(admin)) == 2
    await admin.fault("/api/files/*", status=404, body='{"error":{"code":404,"key":"FILE_NOT_FOUND"}}', count=9)
    with pytest.raises(NotFound, match="no longer keeps the file"):
        await bridge.call("get_media", {"message_id": message})


@pytest.mark.parametrize("media", [{"url": None, "mimetype": "image/jpeg", "filename": "view.jpg"}, None])
async def test_a_type_that_waha_leaves_out_is_asked_for_by_name(
    media: dict[str, Any] | None, bridge: Bridge, admin: Admin
) -> None:
    message = await message_of(bridge, "Maya Lindqvist", "image")
    row = await admin.request("GET", f"/api/default/chats/all/messages/{message}?downloadMedia=true")
    await admin.clear()
    body = json.dumps(row | {"media": media})
    await admin.fault("/api/default/chats/*/messages/*", method="GET", count=2, body=body)
    result: Any = await bridge.call("get_media", {"message_id": message})
    assert result.attachments
    first, second = await asked(admin)
    assert "downloadMediaMimetypes" not in first
    assert "downloadMediaMimetypes=image%2Fjpeg" in second
    await admin.fault("/api/default/chats/*/messages/*", method="GET", count=9, body=body)
    with pytest.raises(NotFound, match="has not downloaded"):
        await bridge.call("get_media", {"message_id": message})


async def test_what_took_long_already_is_not_asked_for_once_more(
    bridge: Bridge, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "SECOND_LOOK", -1.0)
    message = await message_of(bridge, "Dad 👨‍🔧", "image")
    await admin.clear()
    with pytest.raises(NotFound, match="no longer"):
        await bridge.call("get_media", {"message_id": message})
    assert len(await asked(admin)) == 1


async def test_a_message_without_a_file_is_said_to_have_none(bridge: Bridge, admin: Admin) -> None:
    message = await message_of(bridge, "Maya Lindqvist", "text")
    await admin.clear()
    with pytest.raises(NotFound, match="has no file"):
        await bridge.call("get_media", {"message_id": message})
    assert len(await asked(admin)) == 1


async def test_saving_writes_one_file_under_a_safe_name_in_the_downloads_folder(
    sandbox: SandboxInfo, tmp_path: Path
) -> None:
    folder = tmp_path / "downloads"
    async with Bridge(app_for(sandbox, sandbox.keys["read"], downloads=folder)) as bridge:
        result = await look(bridge, "491713920011@c.us", "document", save=True)
        again = await look(bridge, "491713920011@c.us", "document", save=True)
    [saved] = folder.iterdir()
    assert result.saved == again.saved == str(saved)
    assert saved.name.endswith("_Angebot_Druck.pdf")
    assert saved.read_bytes().startswith(b"%PDF")
    assert only_mine(saved)


async def test_a_full_disk_leaves_nothing_in_the_downloads_folder_and_is_told(
    sandbox: SandboxInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "downloads"

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with Bridge(app_for(sandbox, sandbox.keys["read"], downloads=folder)) as bridge:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(Refused, match=r"cannot be written to \(No space left on device\)"):
            await look(bridge, "491713920011@c.us", "document", save=True)
        assert list(folder.iterdir()) == []
        monkeypatch.undo()
        await look(bridge, "491713920011@c.us", "document", save=True)
    assert len(list(folder.iterdir())) == 1


async def test_without_a_downloads_folder_nothing_is_saved(bridge: Bridge, admin: Admin) -> None:
    message_id = await message_of(bridge, "Maya Lindqvist", "document")
    await admin.clear()
    with pytest.raises(ArgumentError, match="downloads"):
        await bridge.call("get_media", {"message_id": message_id, "save": True})
    assert not [r for r in await admin.requests() if "downloadMedia=true" in r["query"] or r["method"] != "GET"]


# Links


async def test_there_is_a_link_only_where_the_app_wants_one_and_its_key_can_do_nothing_but_fetch(
    bridge: Bridge, sandbox: SandboxInfo
) -> None:
    assert (await look(bridge, "Maya Lindqvist", "image")).link is None
    async with Bridge(app_for(sandbox, sandbox.keys["read"], media_links=True)) as linking:
        link = (await look(linking, "Maya Lindqvist", "image")).link
    assert link.startswith(f"{sandbox.url}/api/files/default/")
    assert not any(key in link for key in (*sandbox.keys.values(), sandbox.admin_key))
    async with httpx.AsyncClient() as browser:
        assert (await browser.get(link)).status_code == 200
        key = httpx.URL(link).params["x-api-key"]
        assert (await browser.get(f"{sandbox.url}/api/default/chats", headers={"X-Api-Key": key})).status_code == 403


NOTHING = dict.fromkeys(("read", "send", "control", "setting", "app", "delete"), False)
HARMLESS = {
    "id": "k",
    "key": "key_media",
    "isAdmin": False,
    "isActive": True,
    "session": "default",
    "actions": NOTHING,
}


@pytest.mark.parametrize(
    "change",
    [
        {"key": "key_own"},
        {"key": None},
        {"isAdmin": True},
        {"isAdmin": None},
        {"session": "other"},
        {"actions": None},
        {"actions": {}},
        {"actions": NOTHING | {"read": True}},
        {"actions": NOTHING | {"send": 1}},
        {"actions": NOTHING | {"newest": True}},
    ],
    ids=str,
)
async def test_no_key_of_ours_and_none_that_may_do_anything_gets_into_a_link(change: dict[str, Any]) -> None:
    url = "http://waha.example.com/api/files/default/A.jpeg"
    with respx.mock:
        route = respx.post("http://127.0.0.1:3000/api/keys/media").respond(201, json=HARMLESS)
        async with Waha("http://127.0.0.1:3000", SecretStr("key_own"), "default") as waha:
            assert (await waha.media_link(url)).endswith("/api/files/default/A.jpeg?x-api-key=key_media")
            route.respond(201, json=HARMLESS | change)
            with pytest.raises(BadAnswer) as refusal:
                await waha.media_link(url)
    assert "key_" not in str(refusal.value)


# Fetching


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://evil.example/api/files/default/A.jpg", "/api/files/default/A.jpg"),
        ("http://public.example:99/prefix/api/files/A%20b.jpg?x-api-key=z", "/api/files/A%20b.jpg"),
        ("/api/files/default/true_1@c.us_A.jpg", "/api/files/default/true_1%40c.us_A.jpg"),
    ],
)
async def test_a_file_is_fetched_from_this_waha_whatever_host_its_url_names(url: str, path: str) -> None:
    with respx.mock:
        route = respx.get(f"http://127.0.0.1:3000/waha{path}").respond(200, content=b"data")
        async with Waha("http://127.0.0.1:3000/waha", SecretStr("key_own"), "default") as waha:
            assert await waha.download(url, cap=100) == b"data"
        [call] = respx.calls
        assert call.request.url.host == "127.0.0.1"
        assert not call.request.url.query
    assert route.called


@pytest.mark.parametrize(
    "url",
    [
        "https://bucket.example/object.jpg",
        "http://127.0.0.1:3000/api/keys",
        "http://127.0.0.1:3000/api/files/",
        "http://127.0.0.1:3000/api/files/../keys",
        "http://127.0.0.1:3000/api/files/a/%2e%2e/keys",
        "http://127.0.0.1:3000/api/files/a%2f..%2fkeys",
        "http://127.0.0.1:3000/api/files//x",
        "file:///etc/passwd",
        "",
    ],
)
async def test_what_is_no_media_file_of_waha_is_not_asked_for(url: str) -> None:
    with respx.mock:
        async with Waha("http://127.0.0.1:3000", SecretStr("key_own"), "default") as waha:
            with pytest.raises(Refused):
                await waha.download(url, cap=100)
        assert not respx.calls


async def test_a_redirect_or_a_file_that_is_too_large_ends_the_download() -> None:
    url = "http://127.0.0.1:3000/api/files/default/A.jpg"
    with respx.mock:
        route = respx.get(url)
        async with Waha("http://127.0.0.1:3000", SecretStr("key_own"), "default") as waha:
            route.respond(302, headers={"location": "https://evil.example/"})
            with pytest.raises(BadAnswer):
                await waha.download(url, cap=100)
            route.respond(200, content=b"x" * 101)
            with pytest.raises(BadAnswer, match="over"):
                await waha.download(url, cap=100)
        assert all(call.request.url.host == "127.0.0.1" for call in respx.calls)


# Pictures


def picture(width: int, height: int, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.effect_noise((width, height), 60).convert("RGB").save(out, kind)
    return out.getvalue()


@pytest.mark.slow
def test_a_large_picture_is_scaled_down_and_a_small_one_left_alone() -> None:
    small = picture(40, 30)
    assert shown(small, "image/png") == (small, "image/png", (40, 30))
    large = shown(picture(3000, 1000), "image/png")
    assert large.size == (3000, 1000)
    assert large.mimetype == "image/jpeg"
    with Image.open(io.BytesIO(large.data)) as seen:
        assert max(seen.size) == LONG_SIDE


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n" + b"0" * 50, b"no picture"])
def test_a_broken_picture_is_not_shown(data: bytes) -> None:
    with pytest.raises(NotShown):
        shown(data, "image/png")


def test_a_picture_of_too_many_pixels_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waha_mcp.tools.pictures.MOST_PIXELS", 100)
    with pytest.raises(NotShown, match="pixels"):
        shown(picture(20, 20), "image/png")


def test_without_pillow_a_small_picture_is_shown_and_a_large_one_tells_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    small = b"\xff\xd8\xff" + b"0" * 10
    assert shown(small, "image/jpeg").data == small
    with pytest.raises(NotShown, match=r"waha-mcp\[media\]"):
        shown(b"0" * 1_000_001, "image/jpeg")


# View-once media


async def arrived(admin: Admin, **more: Any) -> str:
    body = {"chatId": "12025550123@c.us", "text": "only for you", "mimetype": "image/jpeg", **more}
    found = await admin.request("POST", "/sandbox/messages", body)
    return str(found["id"])


async def test_what_may_be_seen_once_is_not_downloaded_by_waha_either(
    sandbox: SandboxInfo, admin: Admin, tmp_path: Path
) -> None:
    message_id = await arrived(admin, raw={"IsViewOnce": True})
    await admin.clear()
    async with Bridge(app_for(sandbox, sandbox.keys["read"], downloads=tmp_path, media_links=True)) as bridge:
        with pytest.raises(Refused, match="seen once"):
            await bridge.call("get_media", {"message_id": message_id, "save": True})
    assert os.listdir(tmp_path) == []
    seen = [(r["path"], r["query"], r["method"]) for r in await admin.requests()]
    assert not [each for each in seen if "downloadMedia=true" in each[1] or "/files/" in each[0] or each[2] != "GET"]


async def test_what_is_found_to_be_seen_once_only_with_its_file_goes_no_further(
    bridge: Bridge, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    message_id = await arrived(admin)
    call = Waha.call

    async def marked(self: Waha, operation: str, **how: Any) -> Any:
        answer = await call(self, operation, **how)
        return answer | {"isViewOnce": True} if (how.get("query") or {}).get("downloadMedia") else answer

    monkeypatch.setattr(Waha, "call", marked)
    with pytest.raises(Refused, match="seen once"):
        await bridge.call("get_media", {"message_id": message_id})
    assert not [r for r in await admin.requests() if "/files/" in r["path"]]


async def test_what_may_be_seen_once_is_not_forwarded(sandbox: SandboxInfo, admin: Admin) -> None:
    await admin.request("POST", "/sandbox/engine", {"has": ["ChattingController_forwardMessage"]})
    app = app_for(sandbox, sandbox.keys["read_send"], toolsets=frozenset({"all"}))
    once, other = await arrived(admin, raw={"IsViewOnce": True}), await arrived(admin)
    async with Bridge(app) as bridge:
        with pytest.raises(Refused, match="seen once"):
            await bridge.call("forward_message", {"message_id": once, "chat": "12025550123@c.us"})
        assert not await admin.performed("/api/forwardMessage")
        await bridge.call("forward_message", {"message_id": other, "chat": "12025550123@c.us"})
    assert len(await admin.performed("/api/forwardMessage")) == 1
    await admin.request("POST", "/sandbox/engine", {"reset": True})
