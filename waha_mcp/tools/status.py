"""The toolset `status`: status stories, which expire after 24 hours."""

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from waha_mcp.app.actions import Action
from waha_mcp.tools.catalog import DESTROYS, SENDS, ArgumentError, Context, tool
from waha_mcp.tools.local_files import SOURCES, FileData, MimeType, OutboxPath, outgoing_file, with_kind
from waha_mcp.tools.params import LinkPreview, MediaUrl, MessageId, Narrows, Reference
from waha_mcp.tools.results import Done, done
from waha_mcp.waha.models import Sent, sent_from
from waha_mcp.whatsapp.ids import parse_message_id

STATUS = "status@broadcast"

Audience = Annotated[
    list[str],
    Reference(kind="person"),
    Narrows(),
    Field(min_length=1, max_length=500, description="Only these people see it; left out: all who may"),
]
Color = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$", description="Background as #rrggbb")]


@tool(
    title="Post a text status",
    action=Action.SEND,
    calls=["POST /api/{session}/status/text"],
    hints=SENDS,
    toolset="status",
    reaches="status",
)
async def post_text_status(
    text: Annotated[str, Field(min_length=1, max_length=700, description="The text")],
    people: Audience | None = None,
    background: Color = "#38b42f",
    font: Annotated[int, Field(ge=0, le=10, description="Number of the font")] = 0,
    link_preview: LinkPreview = False,
    *,
    ctx: Context,
) -> Sent:
    """Post a text as status story. All contacts may see it unless people are named."""
    answer = await ctx.waha.call(
        "POST /api/{session}/status/text",
        body={
            "text": text,
            "contacts": people,
            "backgroundColor": background,
            "font": font,
            "linkPreview": link_preview,
        },
    )
    return sent_from(answer, STATUS)


_KINDS = {
    "image": ("POST /api/{session}/status/image", "image/jpeg"),
    "video": ("POST /api/{session}/status/video", "video/mp4"),
    "voice": ("POST /api/{session}/status/voice", "audio/ogg; codecs=opus"),
}


@tool(
    title="Post a media status",
    action=Action.SEND,
    calls=[operation for operation, _ in _KINDS.values()],
    hints=SENDS,
    toolset="status",
    reaches="status",
    one_of=SOURCES,
    complete=partial(with_kind, kinds=tuple(_KINDS)),
)
async def post_media_status(
    kind: Annotated[Literal["image", "video", "voice"], Field(description="Left out: what it is")] | None = None,
    url: MediaUrl | None = None,
    data: FileData | None = None,
    path: OutboxPath | None = None,
    caption: Annotated[str, Field(max_length=1_024, description="Text below an image or video")] | None = None,
    mimetype: MimeType | None = None,
    people: Audience | None = None,
    *,
    ctx: Context,
) -> Sent:
    """Post an image, video or voice note as status story. Give exactly one of url, data and path."""
    assert kind is not None
    if kind == "voice" and caption is not None:
        raise ArgumentError("caption: a voice note has none; post the text with post_text_status")
    operation, default_type = _KINDS[kind]
    file = await outgoing_file(
        ctx, url=url, data=data, path=path, kind=kind, default_type=default_type, mimetype=mimetype
    )
    body: dict[str, Any] = {"file": file, "contacts": people, "caption": caption}
    if kind != "image":
        body["convert"] = True
    return sent_from(await ctx.waha.call(operation, body=body), STATUS)


@tool(
    title="Delete a status",
    action=Action.SEND,
    calls=["POST /api/{session}/status/delete"],
    hints=DESTROYS,
    toolset="status",
    reaches="status",
)
async def delete_status(message_id: MessageId, people: Audience | None = None, *, ctx: Context) -> Done:
    """Take back an own status story. If it was posted for some people only, name the same ones."""
    if parse_message_id(message_id).chat != STATUS:
        raise ArgumentError("message_id: not a status story; give the id that posting it gave")
    answer = await ctx.waha.call("POST /api/{session}/status/delete", body={"id": message_id, "contacts": people})
    return done(answer, "Took the status back")
