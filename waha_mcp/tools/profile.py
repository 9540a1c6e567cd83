"""The toolset `profile`: the account's own profile."""

from typing import Annotated

from pydantic import Field

from waha_mcp.app.actions import Action
from waha_mcp.tools.catalog import DESTROYS, READS, SETS, Context, tool
from waha_mcp.tools.local_files import SOURCES, FileData, OutboxPath, outgoing_file
from waha_mcp.tools.params import Clears, MediaUrl
from waha_mcp.tools.results import Done, done
from waha_mcp.waha.models import Result
from waha_mcp.waha.parsing import chat_id_of, object_of, text_of
from waha_mcp.whatsapp.ids import phone_of
from waha_mcp.whatsapp.untrusted import OwnName

_PROFILE = "/api/{session}/profile"


class Profile(Result):
    id: str | None = None
    name: OwnName | None = None
    phone: str | None = Field(None, description="E.164")
    picture: str | None = Field(None, description="Address of the picture")


@tool(title="Own profile", action=Action.READ, calls=[f"GET {_PROFILE}"], hints=READS, toolset="profile")
async def get_profile(*, ctx: Context) -> Profile:
    """Show the account's own profile: name, number, picture."""
    raw = object_of(await ctx.waha.call(f"GET {_PROFILE}"), "a profile")
    own = chat_id_of(raw.get("id"))
    return Profile(
        id=own, name=text_of(raw.get("name")), phone=phone_of(own) if own else None, picture=text_of(raw.get("picture"))
    )


@tool(
    title="Update own profile",
    action=Action.SEND,
    calls=[f"PUT {_PROFILE}/name", f"PUT {_PROFILE}/status"],
    hints=SETS,
    toolset="profile",
    reaches="everyone",
    one_of=("name", "about"),
)
async def update_profile(
    name: Annotated[str, Field(min_length=1, max_length=25, description="New name")] | None = None,
    about: Annotated[str, Clears(), Field(max_length=139, description="New text about oneself; empty takes it away")]
    | None = None,
    *,
    ctx: Context,
) -> Done:
    """Change the account's name or what it says about itself, one per call. Everybody sees it."""
    if name is not None:
        return done(await ctx.waha.call(f"PUT {_PROFILE}/name", body={"name": name}), f"Set the name to {name}")
    return done(await ctx.waha.call(f"PUT {_PROFILE}/status", body={"status": about}), "Set the text about oneself")


@tool(
    title="Set own picture",
    action=Action.SEND,
    calls=[f"PUT {_PROFILE}/picture"],
    hints=SETS,
    toolset="profile",
    reaches="everyone",
    one_of=SOURCES,
)
async def set_profile_picture(
    url: MediaUrl | None = None,
    data: FileData | None = None,
    path: OutboxPath | None = None,
    *,
    ctx: Context,
) -> Done:
    """Set the account's own picture, a JPEG at best. Give exactly one of url, data and path."""
    file = await outgoing_file(ctx, url=url, data=data, path=path, kind="image", default_type="image/jpeg")
    return done(await ctx.waha.call(f"PUT {_PROFILE}/picture", body={"file": file}), "Set the own picture")


@tool(
    title="Delete own picture",
    action=Action.SEND,
    calls=[f"DELETE {_PROFILE}/picture"],
    hints=DESTROYS,
    toolset="profile",
    reaches="everyone",
)
async def delete_profile_picture(*, ctx: Context) -> Done:
    """Take away the account's own picture."""
    return done(await ctx.waha.call(f"DELETE {_PROFILE}/picture"), "Took away the own picture")
