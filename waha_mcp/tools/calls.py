"""The toolset `calls`: rejecting an incoming call."""

from typing import Annotated

from pydantic import Field

from waha_mcp.app.actions import Action
from waha_mcp.tools.catalog import SETS, Context, tool
from waha_mcp.tools.params import Person
from waha_mcp.tools.results import Done, done


@tool(
    title="Reject a call",
    action=Action.SEND,
    calls=["POST /api/{session}/calls/reject"],
    hints=SETS,
    toolset="calls",
)
async def reject_call(
    caller: Person,
    call_id: Annotated[str, Field(min_length=1, max_length=200, description="Id of the call that rings")],
    *,
    ctx: Context,
) -> Done:
    """Reject a call that is ringing."""
    answer = await ctx.waha.call("POST /api/{session}/calls/reject", body={"from": caller, "id": call_id})
    return done(answer, f"Rejected the call of {caller}")
