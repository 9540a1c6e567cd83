"""The sending tools: their requests to WAHA, what is refused first, and that no file outside the outbox leaves."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import respx
from pydantic import SecretStr

from waha_mcp.app.actions import Action, Grant
from waha_mcp.app.definition import App
from waha_mcp.people.directory import Directory
from waha_mcp.people.filling import FilledTable
from waha_mcp.tools import local_files as files_module
from waha_mcp.tools.catalog import CATALOG, ArgumentError, Context
from waha_mcp.tools.core.sending import mark_read, react, send_media, send_text
from waha_mcp.waha.client import Waha
from waha_mcp.waha.web_fetch import WebFile

pytestmark = pytest.mark.anyio

BASE = "http://waha.test:3000"
CHAT = "12025550123@c.us"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


@pytest.fixture
def net() -> Iterator[respx.MockRouter]:
    with respx.mock(base_url=BASE, assert_all_called=False) as router:
        router.route().respond(201, json={"id": f"true_{CHAT}_A", "timestamp": 1_790_000_000})
        yield router


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    path = tmp_path / "outbox"
    path.mkdir()
    (tmp_path / "secret.txt").write_text("not for sending", encoding="utf-8")
    return path


@pytest.fixture
async def ctx(anyio_backend: str, net: respx.MockRouter, outbox: Path) -> AsyncIterator[Context]:
    app = App(url=BASE, key=SecretStr("scoped-key-1234"), session="default", outbox=outbox)
    async with Waha(app.url, app.key, app.session) as waha:
        yield Context(app, waha, Grant.initial(frozenset({Action.SEND})), Directory(FilledTable(waha)))


def asked(net: respx.MockRouter) -> tuple[str, Any]:
    (call,) = net.calls
    return call.request.url.path, json.loads(call.request.content)


async def with_file(ctx: Context, path: str) -> Context:
    """The context with the file's bytes, as the policy reads them before the tool runs."""
    return replace(ctx, files={path: await files_module.from_outbox(path, ctx.app.outbox)})


async def refused(ctx: Context, net: respx.MockRouter, **arguments: Any) -> str:
    """The text about arguments that are refused before anything leaves."""

    async def send(kind: str = "file", **sources: Any) -> None:
        read = await with_file(ctx, sources["path"]) if sources.keys() == {"path"} else ctx
        await send_media(CHAT, kind, **sources, ctx=read)  # type: ignore[arg-type]

    with pytest.raises(ArgumentError) as caught:
        await send(**arguments)
    assert not net.calls
    return str(caught.value)


# Text


async def test_a_text_goes_out_without_a_link_preview_unless_one_is_asked_for(
    ctx: Context, net: respx.MockRouter
) -> None:
    sent = await send_text(CHAT, "hi 😀", ctx=ctx)
    assert (sent.message_id, sent.chat) == (f"true_{CHAT}_A", CHAT)
    assert asked(net) == (
        "/api/sendText",
        {"session": "default", "chatId": CHAT, "text": "hi 😀", "linkPreview": False},
    )


async def test_a_text_may_answer_and_mention(ctx: Context, net: respx.MockRouter) -> None:
    await send_text(CHAT, "hi", reply_to=f"false_{CHAT}_B", mentions=["1@c.us"], link_preview=True, ctx=ctx)
    body = asked(net)[1]
    assert (body["reply_to"], body["mentions"], body["linkPreview"]) == (f"false_{CHAT}_B", ["1@c.us"], True)


async def test_a_reaction_and_taking_it_back(ctx: Context, net: respx.MockRouter) -> None:
    await react(f"false_{CHAT}_B", "", ctx=ctx)
    assert asked(net)[1] == {"session": "default", "messageId": f"false_{CHAT}_B", "reaction": ""}
    assert net.calls[0].request.method == "PUT"


@pytest.mark.parametrize(("answer", "count"), [({"ids": ["a", "b"]}, 2), ({}, None), ([], None), ({"ids": None}, None)])
async def test_marking_as_read_says_how_many_where_waha_does(
    ctx: Context, net: respx.MockRouter, answer: Any, count: int | None
) -> None:
    net.routes.clear()
    net.post(path__regex="/api/default/chats/.*").respond(201, json=answer)
    assert (await mark_read(CHAT, ctx=ctx)).messages == count


async def test_a_voice_note_takes_no_caption(ctx: Context, net: respx.MockRouter) -> None:
    assert (await refused(ctx, net, kind="voice", data="QQ==", caption="hi")).startswith("caption: ")


@pytest.mark.parametrize(
    ("kind", "operation", "convert"),
    [
        ("image", "sendImage", None),
        ("video", "sendVideo", True),
        ("voice", "sendVoice", True),
        ("file", "sendFile", None),
    ],
)
async def test_each_kind_has_its_operation(
    ctx: Context, net: respx.MockRouter, kind: Any, operation: str, convert: bool | None
) -> None:
    await send_media(CHAT, kind, url="https://x.test/", ctx=fetched_by_waha(ctx))
    path, body = asked(net)
    assert body["file"]["url"] == "https://x.test/"
    assert path == f"/api/{operation}"
    assert body.get("convert") == convert
    assert body["chatId"] == CHAT


def fetched_by_waha(ctx: Context) -> Context:
    return replace(ctx, app=ctx.app.model_copy(update={"media_fetch": "waha"}))


# Base64


@pytest.mark.parametrize(
    "data",
    [
        base64.b64encode(PNG).decode(),
        f"data:image/png;base64,{base64.b64encode(PNG).decode()}",
        f"data:;base64,{base64.b64encode(PNG).decode()}",
        f"  {base64.encodebytes(PNG).decode()}\n",
    ],
)
async def test_bytes_come_in_base64_with_or_without_a_data_url(ctx: Context, net: respx.MockRouter, data: str) -> None:
    await send_media(CHAT, "image", data=data, ctx=ctx)
    assert base64.b64decode(asked(net)[1]["file"]["data"]) == PNG


@pytest.mark.parametrize(
    "data",
    ["?", "QQ", "Q-_=", "data:image/png,hello", "data:image/png;base64", "x,QQ==", "data:;base64,ü", "https://x.test"],
)
async def test_what_is_no_base64_is_refused(ctx: Context, net: respx.MockRouter, data: str) -> None:
    said = await refused(ctx, net, data=data)
    assert said.startswith("data: ")
    assert "base64" in said


@pytest.mark.parametrize("data", ["", " ", "data:image/png;base64,"])
async def test_nothing_is_not_sent(ctx: Context, net: respx.MockRouter, data: str) -> None:
    assert (await refused(ctx, net, data=data)).startswith("data: ")


async def test_a_file_over_the_limit_is_refused_and_one_at_the_limit_is_sent(
    ctx: Context, net: respx.MockRouter, outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_module, "MAX_FILE", 2**20)
    (outbox / "big").write_bytes(b"x" * (2**20 + 1))
    (outbox / "fits").write_bytes(b"x" * 2**20)
    for source in ({"path": "big"}, {"data": base64.b64encode(b"x" * (2**20 + 1)).decode()}):
        said = await refused(ctx, net, **source)
        assert said.startswith(next(iter(source)))
        assert "1 MiB" in said
    await send_media(CHAT, "file", path="fits", ctx=await with_file(ctx, "fits"))


def test_the_largest_file_fits_into_what_waha_takes_as_base64() -> None:
    assert files_module.MAX_FILE * 4 / 3 < 50 * 2**20 - 2**20


# The outbox


async def test_a_file_in_the_outbox_is_sent_under_its_name(ctx: Context, net: respx.MockRouter, outbox: Path) -> None:
    (outbox / "sub").mkdir()
    (outbox / "sub" / "plan ü.pdf").write_bytes(b"%PDF")
    read = await with_file(ctx, "sub/plan ü.pdf")
    (outbox / "sub" / "plan ü.pdf").write_bytes(b"what came later")
    await send_media(CHAT, "file", path="sub/plan ü.pdf", caption="look", ctx=read)
    body = asked(net)[1]
    assert body["file"] == {
        "data": base64.b64encode(b"%PDF").decode(),
        "mimetype": "application/pdf",
        "filename": "plan ü.pdf",
    }
    assert body["caption"] == "look"


@pytest.mark.parametrize("form", ["b.txt", "sub/../a.txt"])
async def test_not_even_a_link_or_a_way_round_that_stays_inside_is_followed(
    form: str, ctx: Context, net: respx.MockRouter, outbox: Path
) -> None:
    (outbox / "sub").mkdir()
    (outbox / "a.txt").write_text("a", encoding="utf-8")
    (outbox / "b.txt").symlink_to("a.txt")
    assert (await refused(ctx, net, path=form)).startswith("path: ")


PICTURE = b"\x89PNG\r\n\x1a\n0000"


@pytest.mark.parametrize(
    ("content", "kind", "more", "names"),
    [
        (b"%PDF-1.7", "image", {}, "application/pdf"),
        (PICTURE, "voice", {}, "image/png"),
        (PICTURE, "file", {"mimetype": "audio/mpeg"}, "image/png"),
        (b"MZ\x90\x00\x03", "file", {}, "program"),
        (b"\x7fELF", "file", {"filename": "holiday.pdf"}, "program"),
        (b"echo hello", "file", {"filename": "run.sh"}, "program"),
    ],
)
async def test_what_a_file_really_is_decides_and_programs_are_not_sent(
    content: bytes, kind: str, more: dict[str, str], names: str, ctx: Context, net: respx.MockRouter
) -> None:
    with pytest.raises(ArgumentError, match=names):
        await send_media(CHAT, kind, data=base64.b64encode(content).decode(), ctx=ctx, **more)  # type: ignore[arg-type]
    assert not net.calls


async def test_a_picture_is_sent_as_the_type_that_it_is(ctx: Context, net: respx.MockRouter) -> None:
    await send_media(CHAT, "image", data=base64.b64encode(PICTURE).decode(), ctx=ctx)
    assert asked(net)[1]["file"]["mimetype"] == "image/png"


@pytest.mark.parametrize(
    "form",
    ["../secret.txt", "sub/../../secret.txt", "{parent}/secret.txt", "link", "folder/secret.txt", "/etc/hostname"],
)
async def test_a_file_outside_the_outbox_is_never_sent(
    ctx: Context, net: respx.MockRouter, outbox: Path, form: str
) -> None:
    (outbox / "link").symlink_to(outbox.parent / "secret.txt")
    (outbox / "folder").symlink_to(outbox.parent)
    said = await refused(ctx, net, path=form.format(parent=outbox.parent))
    assert said.startswith("path: outside the outbox")
    assert str(outbox.parent) not in said


async def test_a_folder_beside_the_outbox_that_starts_with_its_name_is_outside(
    ctx: Context, net: respx.MockRouter, outbox: Path
) -> None:
    twin = outbox.with_name("outbox-private")
    twin.mkdir()
    (twin / "a.txt").write_text("a", encoding="utf-8")
    assert "outside" in await refused(ctx, net, path="../outbox-private/a.txt")


@pytest.mark.parametrize("path", ["", ".", "nowhere.txt", "sub", "a\x00b", "loop", "~/x", "x" * 5000, "file/inside"])
async def test_what_is_no_file_in_the_outbox_is_told(
    ctx: Context, net: respx.MockRouter, outbox: Path, path: str
) -> None:
    (outbox / "sub").mkdir()
    (outbox / "file").write_text("a", encoding="utf-8")
    (outbox / "loop").symlink_to("loop")
    assert (await refused(ctx, net, path=path)).startswith("path: ")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
async def test_a_pipe_is_no_file(ctx: Context, net: respx.MockRouter, outbox: Path) -> None:
    os.mkfifo(outbox / "pipe")
    assert (await refused(ctx, net, path="pipe")).startswith("path: ")


async def test_an_empty_file_is_not_sent(ctx: Context, net: respx.MockRouter, outbox: Path) -> None:
    (outbox / "empty").touch()
    assert "empty" in await refused(ctx, net, path="empty")


async def test_a_file_that_cannot_be_read_is_told_without_its_place(
    ctx: Context, net: respx.MockRouter, outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (outbox / "locked").write_text("a", encoding="utf-8")

    async def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(outbox / "locked"))

    monkeypatch.setattr("waha_mcp.tools.local_files.anyio.open_file", denied)
    said = await refused(ctx, net, path="locked")
    assert "Permission denied" in said
    assert str(outbox) not in said


async def test_an_outbox_that_is_not_there_holds_no_file(ctx: Context, net: respx.MockRouter, tmp_path: Path) -> None:
    bare = Context(ctx.app.model_copy(update={"outbox": tmp_path / "nowhere"}), ctx.waha, ctx.grant, ctx.directory)
    assert (await refused(bare, net, path="a.txt")).startswith("path: ")


async def test_without_an_outbox_no_path_is_taken(ctx: Context, net: respx.MockRouter) -> None:
    bare = Context(ctx.app.model_copy(update={"outbox": None}), ctx.waha, ctx.grant, ctx.directory)
    said = await refused(bare, net, path="../secret.txt")
    assert "no outbox" in said
    assert "url or data" in said


# Names and types


@pytest.mark.parametrize(
    ("kind", "arguments", "mimetype", "filename"),
    [
        ("file", {"url": "https://x.test/a%20b/plan.pdf?x=1"}, "application/pdf", "plan.pdf"),
        ("file", {"url": "https://x.test/"}, "application/octet-stream", "file.bin"),
        ("file", {"url": "https://x.test/..%2F..%2Fetc%2Fpasswd"}, "application/octet-stream", "passwd"),
        ("file", {"url": "https://x.test/" + "a" * 300 + ".pdf"}, "application/pdf", "a" * 196 + ".pdf"),
        ("image", {"url": "https://x.test/a.png"}, "image/png", "a.png"),
        ("image", {"url": "https://x.test/a.pdf"}, "image/jpeg", "a.pdf"),
        ("image", {"data": "data:image/webp;base64,QQ=="}, "image/webp", None),
        ("image", {"data": "data:image/webp;base64,QQ==", "mimetype": "image/png"}, "image/png", "image.png"),
        ("image", {"data": "QQ=="}, "image/jpeg", None),
        ("image", {"data": "QQ==", "filename": "me.png"}, "image/png", "me.png"),
        ("video", {"data": "QQ=="}, "video/mp4", "video.mp4"),
        ("voice", {"data": "QQ==", "filename": "note.mp3"}, "audio/ogg; codecs=opus", "note.mp3"),
        ("file", {"data": "data:text/plain;charset=utf-8;base64,QQ=="}, "text/plain", "file.txt"),
    ],
)
async def test_the_type_is_the_stated_one_else_the_names_else_the_kinds(
    ctx: Context, net: respx.MockRouter, kind: Any, arguments: dict[str, Any], mimetype: str, filename: str | None
) -> None:
    await send_media(CHAT, kind, **arguments, ctx=fetched_by_waha(ctx))
    file = asked(net)[1]["file"]
    assert file["mimetype"] == mimetype
    assert file["filename"] == (filename or file["filename"])
    assert file["filename"].startswith(filename or kind)


# What was fetched

JPEG, PAGE = b"\xff\xd8\xff" + b"\0" * 20, b"\xef\xbb\xbf\n<!-- x --> <!DOCTYPE HTML><p>Log in"
UNKNOWN = b"\0\1\2\3" * 9


def having_fetched(ctx: Context, url: str, content: bytes, said: str | None) -> Context:
    return replace(ctx, fetched={url: WebFile(content, said)})


@pytest.mark.parametrize(
    ("kind", "url", "content", "said", "arguments", "mimetype", "filename"),
    [
        ("image", "https://x.test/a%20b.png?x=1", PNG, "image/png", {}, "image/png", "a b.png"),
        ("image", "https://x.test/a.png", JPEG, "image/png", {}, "image/jpeg", "a.png"),
        ("image", "https://x.test/", JPEG, None, {}, "image/jpeg", "image.jpg"),
        ("image", "https://x.test/", JPEG, "text/html", {}, "image/jpeg", "image.jpg"),
        ("image", "https://x.test/a", UNKNOWN, "image/avif", {}, "image/avif", "a"),
        ("image", "https://x.test/a", PNG, "image/png", {"filename": "b.png"}, "image/png", "b.png"),
        ("voice", "https://x.test/a", b"OggS", "application/ogg", {}, "audio/ogg; codecs=opus", "a"),
        ("voice", "https://x.test/a", UNKNOWN, "audio/mpeg", {}, "audio/ogg; codecs=opus", "a"),
        ("file", "https://x.test/plan.pdf", b"%PDF-1", "application/octet-stream", {}, "application/pdf", "plan.pdf"),
        ("file", "https://x.test/a", b"%PDF-1", None, {}, "application/octet-stream", "a"),
        ("file", "https://x.test/", b"%PDF-1", None, {}, "application/pdf", "file.pdf"),
        ("file", "https://x.test/a", UNKNOWN, "application/x-own", {}, "application/x-own", "a"),
        ("file", "https://x.test/a", UNKNOWN, "application/x-own", {"mimetype": "a/b"}, "a/b", "a"),
        ("file", "https://x.test/a.docx", b"PK\3\4", "application/x-docx", {}, "application/x-docx", "a.docx"),
        ("file", "https://x.test/a", JPEG, "video/mp4", {"filename": "a.jpg"}, "image/jpeg", "a.jpg"),
        ("file", "https://x.test/a.html", PAGE, "text/html", {}, "text/html", "a.html"),
        ("file", "https://x.test/a", PAGE, "text/html", {}, "text/html", "a"),
        ("file", "https://x.test/a.txt", PAGE, "text/plain", {}, "text/plain", "a.txt"),
    ],
)
async def test_what_was_fetched_goes_out_as_bytes_with_the_type_that_they_have(
    ctx: Context, net: respx.MockRouter, kind: Any, url: str, content: bytes, said: str | None,
    arguments: dict[str, Any], mimetype: str, filename: str,
) -> None:  # fmt: skip
    await send_media(CHAT, kind, url=url, **arguments, ctx=having_fetched(ctx, url, content, said))
    file = asked(net)[1]["file"]
    assert base64.b64decode(file.pop("data")) == content
    assert file == {"mimetype": mimetype, "filename": filename}


@pytest.mark.parametrize(
    ("kind", "url", "content", "said", "arguments", "says"),
    [
        ("image", "https://x.test/a.png", PAGE, "text/html", {}, "returned a web page, not image"),
        ("image", "https://x.test/a.png", PAGE, "image/png", {}, "returned a web page, not image"),
        ("image", "https://x.test/a.png", b"x", "text/html", {}, "returned a web page, not image"),
        ("video", "https://x.test/a", b"x", "application/xhtml+xml", {}, "returned a web page, not video"),
        ("file", "https://x.test/a.pdf", PAGE, "application/pdf", {}, "it returned a web page"),
        ("file", "https://x.test/a", PAGE, None, {"mimetype": "image/png"}, "not image/png;"),
        ("image", "https://x.test/a.png", b"{}", "application/json", {}, "it returned text, not image"),
        ("image", "https://x.test/a.png", b"no such file", "image/png", {}, "it returned text, not image"),
        ("image", "https://x.test/a.png", UNKNOWN, None, {}, "it returned data of unknown type, not image"),
        ("image", "https://x.test/a.png", b"OggS", "image/png", {}, "this is audio/ogg, which cannot be sent"),
        ("file", "https://x.test/a", PNG, None, {"mimetype": "video/mp4"}, "this is image/png, not video/mp4"),
        ("file", "https://x.test/a", b"\x7fELF", None, {}, "url: this is a program"),
        ("file", "https://x.test/a.exe", b"x", None, {}, "url: this is a program"),
        ("file", "https://x.test/a", b"", None, {}, "url: empty"),
    ],
)  # fmt: skip
async def test_what_is_not_what_was_asked_for_is_not_sent(
    ctx: Context, net: respx.MockRouter, kind: str, url: str, content: bytes, said: str | None,
    arguments: dict[str, Any], says: str,
) -> None:  # fmt: skip
    found = await refused(having_fetched(ctx, url, content, said), net, kind=kind, url=url, **arguments)
    assert says in found


async def test_a_url_of_which_nothing_was_fetched_is_not_handed_on(ctx: Context, net: respx.MockRouter) -> None:
    with pytest.raises(KeyError):
        await send_media(CHAT, "image", url="https://x.test/a.png", ctx=ctx)
    assert not net.calls


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": "file:///etc/passwd"},
        {"url": "ftp://x.test/a"},
        {"url": "/etc/passwd"},
        {"url": "http://"},
        {"url": "http://[broken"},
        {"mimetype": "png"},
        {"mimetype": "image/png\r\nX: 1"},
        {"filename": "x" * 201},
        {"caption": "x" * 4097},
        {"reply_to": "junk"},
        {"kind": "sticker"},
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name(arguments: dict[str, str]) -> None:
    with pytest.raises(ArgumentError) as caught:
        CATALOG["send_media"].parse({"chat": CHAT, "kind": "file"} | arguments)
    assert f"{next(iter(arguments))}: " in str(caught.value)


@pytest.mark.parametrize("text", ["", "x" * 65_537])
def test_a_text_has_a_length(text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        CATALOG["send_text"].parse({"chat": CHAT, "text": text})
    assert "text: " in str(caught.value)
