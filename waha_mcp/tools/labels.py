"""The toolset `labels`: WhatsApp Business's labels of chats, visible only to the account."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from waha_mcp.app.actions import Action
from waha_mcp.tools.catalog import DESTROYS, READS, SETS, ArgumentError, Context, tool
from waha_mcp.tools.params import NotBlank, OwnChat
from waha_mcp.tools.results import Done, done
from waha_mcp.waha.errors import BadAnswer
from waha_mcp.waha.marks import FullOnly, RowId
from waha_mcp.waha.models import Result
from waha_mcp.waha.parsing import ChatKind, all_of, chat_id_of, count_of, kind_of_chat, mapping_of, text_of
from waha_mcp.whatsapp.untrusted import Name, OwnName

_LABELS = "/api/{session}/labels"

LabelId = Annotated[str, Field(min_length=1, max_length=60, description="Id of a label, as list_labels gives it")]


class Label(Result):
    id: str
    name: OwnName | None = None
    color: int | None = Field(None, description="0 to 19")
    shade: str | None = Field(None, description="The color as #rrggbb")


def _label_from(raw: Mapping[str, Any]) -> Label | None:
    label_id = raw.get("id")
    if not isinstance(label_id, str | int) or label_id == "":
        return None
    return Label(
        id=str(label_id),
        name=text_of(raw.get("name")),
        color=count_of(raw.get("color")),
        shade=text_of(raw.get("colorHex")),
    )


class Labels(Result):
    labels: list[Label]


@tool(
    title="List labels",
    action=Action.READ,
    calls=[f"GET {_LABELS}", f"GET {_LABELS}/chats/{{chatId}}"],
    hints=READS,
    toolset="labels",
)
async def list_labels(chat: OwnChat | None = None, *, ctx: Context) -> Labels:
    """List all labels, or those that one chat carries. Labels are a part of WhatsApp Business."""
    if chat is None:
        answer = await ctx.waha.call(f"GET {_LABELS}")
    else:
        answer = await ctx.waha.call(f"GET {_LABELS}/chats/{{chatId}}", path={"chatId": chat})
    return Labels(labels=all_of(answer, "labels", _label_from))


class LabeledChat(Result):
    id: RowId
    name: Name | None = None
    kind: Annotated[ChatKind, FullOnly()]


class LabeledChats(Result):
    chats: list[LabeledChat]


@tool(
    title="List chats of a label",
    action=Action.READ,
    calls=[f"GET {_LABELS}/{{labelId}}/chats"],
    hints=READS,
    toolset="labels",
)
async def list_labeled_chats(label_id: LabelId, *, ctx: Context) -> LabeledChats:
    """List the chats that carry a label."""
    await ctx.directory.load()
    answer = await ctx.waha.call(f"GET {_LABELS}/{{labelId}}/chats", path={"labelId": label_id})
    rows = all_of(answer, "chats", lambda row: row if chat_id_of(row.get("id")) else None)
    return LabeledChats(
        chats=[
            LabeledChat(id=chat, name=ctx.directory.name(chat) or text_of(row.get("name")), kind=kind_of_chat(chat))
            for row in rows
            if (written := chat_id_of(row.get("id"))) and ctx.readable(chat := ctx.directory.canonical(written))
        ]
    )


@tool(
    title="Label a chat",
    action=Action.SEND,
    calls=[f"PUT {_LABELS}/chats/{{chatId}}"],
    hints=SETS,
    toolset="labels",
    reaches="nobody",
)
async def set_chat_labels(
    chat: OwnChat,
    label_ids: Annotated[list[LabelId], Field(max_length=20, description="All that it is to carry; none: no label")],
    *,
    ctx: Context,
) -> Done:
    """Set the labels of a chat. They replace those that it carries: look with list_labels first."""
    body = {"labels": [{"id": label_id} for label_id in label_ids]}
    answer = await ctx.waha.call(f"PUT {_LABELS}/chats/{{chatId}}", path={"chatId": chat}, body=body)
    return done(answer, f"Labeled {chat} with {', '.join(label_ids) or 'nothing'}")


@tool(
    title="Save a label",
    action=Action.SEND,
    calls=[f"POST {_LABELS}", f"PUT {_LABELS}/{{labelId}}"],
    hints=SETS,
    toolset="labels",
    reaches="nobody",
)
async def save_label(
    name: Annotated[str, NotBlank, Field(min_length=1, max_length=100, description="Name of the label")],
    color: Annotated[int, Field(ge=0, le=19, description="Number of its color, 0 to 19; none: kept, 0 for a new one")]
    | None = None,
    label_id: Annotated[str, Field(min_length=1, max_length=60, description="Of the one to change; none: a new one")]
    | None = None,
    *,
    ctx: Context,
) -> Label:
    """Create a label, or change the name and color of one."""
    if label_id is None:
        answer = await ctx.waha.call(f"POST {_LABELS}", body={"name": name, "color": color or 0})
    else:
        kept = {"color": color} if color is not None else await _color_of(ctx, label_id)
        path = {"labelId": label_id}
        answer = await ctx.waha.call(f"PUT {_LABELS}/{{labelId}}", path=path, body={"name": name, **kept})
    label = _label_from(mapping_of(answer))
    if label is None:
        raise BadAnswer("WAHA saved the label but did not give its id: find it with list_labels.")
    return label


async def _color_of(ctx: Context, label_id: str) -> dict[str, Any]:
    """The color of a label, for the body of a change: WAHA resets the fields that a change leaves out.

    Raises:
        ArgumentError: it is not known.
    """
    if Action.READ not in ctx.grant.actions:
        raise ArgumentError("color: give it too, since without the action read the label's own cannot be looked up")
    labels = all_of(await ctx.waha.call(f"GET {_LABELS}"), "labels", _label_from)
    label = next((each for each in labels if each.id == label_id), None)
    if label is None:
        raise ArgumentError("label_id: there is no such label; list_labels shows them")
    if label.color is None and label.shade is None:
        raise ArgumentError("color: give it too, since WAHA does not say which the label has")
    return {"color": label.color} if label.color is not None else {"colorHex": label.shade}


@tool(
    title="Delete a label",
    action=Action.SEND,
    calls=[f"DELETE {_LABELS}/{{labelId}}"],
    hints=DESTROYS,
    toolset="labels",
    reaches="nobody",
)
async def delete_label(label_id: LabelId, *, ctx: Context) -> Done:
    """Delete a label. It vanishes from the chats that carry it."""
    answer = await ctx.waha.call(f"DELETE {_LABELS}/{{labelId}}", path={"labelId": label_id})
    return done(answer, f"Deleted label {label_id}")
