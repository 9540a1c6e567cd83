"""Tools that change existing messages and chats."""

from typing import Annotated, Literal

from pydantic import Field

from waha_mcp.app.actions import Action
from waha_mcp.tools.catalog import DESTROYS, SETS, Context, tool
from waha_mcp.tools.params import Chat, LinkPreview, MessageId, Narrows, OwnChat, People, SourceMessageId
from waha_mcp.tools.results import Done, done
from waha_mcp.whatsapp.ids import parse_message_id

_MESSAGE = "/api/{session}/chats/{chatId}/messages/{messageId}"


def _path(message_id: str) -> dict[str, str]:
    return {"chatId": parse_message_id(message_id).chat, "messageId": message_id}


@tool(title="Edit a message", action=Action.SEND, calls=[f"PUT {_MESSAGE}"], hints=SETS, toolset="messages")
async def edit_message(
    message_id: MessageId,
    text: Annotated[str, Field(min_length=1, max_length=65_536, description="The new text")],
    mentions: People | None = None,
    link_preview: LinkPreview = False,
    *,
    ctx: Context,
) -> Done:
    """Change the text of an own message. WhatsApp allows it for 15 minutes and marks it as edited."""
    body = {"text": text, "mentions": mentions, "linkPreview": link_preview}
    answer = await ctx.waha.call(f"PUT {_MESSAGE}", path=_path(message_id), body=body)
    return done(answer, "Edited")


@tool(title="Delete a message", action=Action.SEND, calls=[f"DELETE {_MESSAGE}"], hints=DESTROYS, toolset="messages")
async def delete_message(message_id: MessageId, *, ctx: Context) -> Done:
    """Delete a message for everybody in the chat. Those there see that something was deleted."""
    answer = await ctx.waha.call(f"DELETE {_MESSAGE}", path=_path(message_id))
    return done(answer, "Deleted")


_DAYS = {"24h": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400}


@tool(
    title="Pin a message",
    action=Action.SEND,
    calls=[f"POST {_MESSAGE}/pin", f"POST {_MESSAGE}/unpin"],
    hints=SETS,
    toolset="messages",
)
async def pin_message(
    message_id: MessageId,
    pinned: Annotated[bool, Field(description="False takes the pin away")] = True,
    duration: Annotated[Literal["24h", "7d", "30d"], Field(description="How long it stays pinned")] = "7d",
    *,
    ctx: Context,
) -> Done:
    """Pin a message at the top of its chat for everybody, or unpin it."""
    if not pinned:
        return done(
            await ctx.waha.call(f"POST {_MESSAGE}/unpin", path=_path(message_id)),
            "Unpinned",
        )
    answer = await ctx.waha.call(f"POST {_MESSAGE}/pin", path=_path(message_id), body={"duration": _DAYS[duration]})
    return done(answer, f"Pinned for {duration}")


@tool(
    title="Star a message",
    action=Action.SEND,
    calls=["PUT /api/star"],
    hints=SETS,
    toolset="messages",
    reaches="nobody",
)
async def star_message(
    message_id: SourceMessageId,
    starred: Annotated[bool, Field(description="False takes the star away")] = True,
    *,
    ctx: Context,
) -> Done:
    """Star a message, or take the star away. Only this account sees it."""
    answer = await ctx.waha.call(
        "PUT /api/star",
        body={"messageId": message_id, "chatId": parse_message_id(message_id).chat, "star": starred},
    )
    return done(answer, "Starred" if starred else "Took the star away")


@tool(
    title="Show as typing",
    action=Action.SEND,
    calls=["POST /api/startTyping", "POST /api/stopTyping", "POST /api/{session}/presence"],
    hints=SETS,
    toolset="messages",
)
async def set_typing(
    chat: Chat,
    state: Annotated[Literal["typing", "recording", "stopped"], Field(description="What the others see")] = "typing",
    *,
    ctx: Context,
) -> Done:
    """Show in a chat that we are typing or recording a voice note, or stop showing it."""
    if state == "recording":
        body = {"chatId": chat, "presence": "recording"}
        answer = await ctx.waha.call("POST /api/{session}/presence", body=body)
    else:
        operation = "POST /api/startTyping" if state == "typing" else "POST /api/stopTyping"
        answer = await ctx.waha.call(operation, body={"chatId": chat})
    return done(answer, f"Shown as {state} in {chat}")


_CHAT = "/api/{session}/chats/{chatId}"


@tool(
    title="Archive a chat",
    action=Action.SEND,
    calls=[f"POST {_CHAT}/archive", f"POST {_CHAT}/unarchive"],
    hints=SETS,
    toolset="messages",
    reaches="nobody",
)
async def archive_chat(
    chat: OwnChat,
    archived: Annotated[bool, Field(description="False brings it back")] = True,
    *,
    ctx: Context,
) -> Done:
    """Move a chat to the archive, or back out of it. Only this account sees it."""
    operation = f"POST {_CHAT}/archive" if archived else f"POST {_CHAT}/unarchive"
    answer = await ctx.waha.call(operation, path={"chatId": chat})
    return done(answer, f"{'Archived' if archived else 'Took out of the archive:'} {chat}")


@tool(
    title="Mark as unread",
    action=Action.SEND,
    calls=[f"POST {_CHAT}/unread"],
    hints=SETS,
    toolset="messages",
    reaches="nobody",
)
async def mark_unread(chat: OwnChat, *, ctx: Context) -> Done:
    """Mark a chat as unread, so that its owner finds it again. Only this account sees it."""
    answer = await ctx.waha.call(f"POST {_CHAT}/unread", path={"chatId": chat})
    return done(answer, f"Marked {chat} as unread")


@tool(
    title="Delete a chat",
    action=Action.SEND,
    calls=[f"DELETE {_CHAT}", f"DELETE {_CHAT}/messages"],
    hints=DESTROYS,
    toolset="messages",
    reaches="nobody",
)
async def delete_chat(
    chat: OwnChat,
    only_messages: Annotated[bool, Narrows(), Field(description="Empty the chat and keep it in the list")] = False,
    *,
    ctx: Context,
) -> Done:
    """Delete a chat with its messages, or only its messages, from this account. The others keep theirs."""
    operation = f"DELETE {_CHAT}/messages" if only_messages else f"DELETE {_CHAT}"
    answer = await ctx.waha.call(operation, path={"chatId": chat})
    return done(answer, f"{'Emptied' if only_messages else 'Deleted'} {chat}")
