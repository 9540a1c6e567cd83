"""The kind of a file that is sent: determined from its content, and never against it."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.harness import Admin
from tests.policy.common import SAM, bridge_with, effects
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.tools.catalog import CATALOG, ArgumentError

PNG, PDF, OGG, MP4 = b"\x89PNG\r\n\x1a\n" + b"\0" * 32, b"%PDF-1.7 " * 8, b"OggS" + b"\0" * 32, b"\0\0\0 ftypisom" * 4
TEXT, BYTES, MP3 = b"Dear Sam,\n" * 600, bytes(range(256)) * 20, b"ID3" + b"\0" * 32


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def kind(tool: str = "send_media", **given: Any) -> Any:
    chat = {"chat": SAM} if tool == "send_media" else {}
    return CATALOG[tool].parse(chat | given)["kind"]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"data": encoded(PNG)}, "image"),
        ({"data": encoded(PNG), "filename": "letter.pdf"}, "image"),
        ({"data": f"data:image/png;base64,{encoded(PNG)}"}, "image"),
        ({"data": encoded(MP4)}, "video"),
        ({"data": encoded(OGG)}, "voice"),
        ({"data": encoded(OGG), "caption": "Listen"}, "file"),
        ({"data": encoded(MP3)}, "file"),
        ({"data": encoded(PDF), "filename": "letter.png"}, "file"),
        ({"data": encoded(TEXT)}, "file"),
        ({"data": encoded(BYTES)}, "file"),
        ({"data": encoded(BYTES), "mimetype": "image/heif"}, "image"),
        ({"data": f"data:video/x-matroska;base64,{encoded(BYTES)}"}, "video"),
        ({"path": "letter.pdf"}, "file"),
        ({"path": "summer/beach.JPG"}, "image"),
        ({"path": "drawing.svg"}, "file"),
        ({"path": "README"}, "file"),
        ({"url": "https://example.com/a/beach.jpeg?size=2"}, "image"),
        ({"url": "https://example.com/download", "mimetype": "video/mp4"}, "video"),
        ({"url": "https://example.com/download", "filename": "clip.mp4"}, "video"),
        ({"url": "https://example.com/a.png", "kind": ""}, "image"),
        ({"url": "https://example.com/a.png", "kind": "file"}, "file"),
        ({"url": "https://example.com/download", "kind": "image"}, "image"),
    ],
)
def test_a_kind_that_is_left_out_is_what_the_file_is(given: dict[str, Any], wanted: str) -> None:
    assert kind(**given) == wanted


@pytest.mark.parametrize("url", ["https://example.com/", "https://example.com/download", "https://example.com/a.bin"])
def test_a_url_that_tells_nothing_needs_a_kind(url: str) -> None:
    with pytest.raises(ArgumentError, match="kind: the URL does not say what it is; give one of image, video, voice"):
        kind(url=url)


def test_a_status_that_is_no_picture_video_or_voice_note_is_an_error() -> None:
    assert kind("post_media_status", data=encoded(PNG)) == "image"
    with pytest.raises(ArgumentError, match="kind: file cannot be sent here; give one of"):
        kind("post_media_status", data=encoded(PDF))


@pytest.mark.parametrize("content", [PDF, TEXT[:2_000]])
@pytest.mark.parametrize("wanted", ["image", "video", "voice"])
def test_bytes_that_are_of_another_kind_are_refused_with_the_right_one(content: bytes, wanted: str) -> None:
    with pytest.raises(ArgumentError, match=rf"data: this is .*, which cannot be sent as {wanted}; send it as file"):
        kind(data=encoded(content), kind=wanted)


@pytest.mark.parametrize(("content", "wanted"), [(MP3, "voice"), (MP4, "voice"), (OGG, "voice"), (BYTES, "video")])
def test_what_waha_converts_or_nobody_knows_is_taken(content: bytes, wanted: str) -> None:
    assert kind(data=encoded(content), kind=wanted) == wanted


@pytest.mark.anyio
async def test_nobody_is_asked_about_a_picture_that_is_none(sandbox: SandboxInfo, admin: Admin) -> None:
    async def never(*_: Any) -> Any:
        raise AssertionError("somebody was asked")

    async with bridge_with(sandbox, approval="all") as bridge:
        with pytest.raises(ArgumentError, match="cannot be sent as image"):
            await bridge.call("send_media", {"chat": SAM, "kind": "image", "data": encoded(PDF)}, ask=never)
    assert await effects(admin) == []


@pytest.mark.anyio
async def test_the_same_file_with_and_without_its_kind_is_one_repeat(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox) as bridge:
        await bridge.call("send_media", {"chat": SAM, "data": encoded(PNG)})
        with pytest.raises(Exception, match="same"):
            await bridge.call("send_media", {"chat": SAM, "kind": "image", "data": encoded(PNG)})
    assert len(await effects(admin)) == 1
