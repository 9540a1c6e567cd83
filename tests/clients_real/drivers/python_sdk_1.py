"""The Python SDK (`mcp`), version 1."""

import asyncio
import inspect

from lines import ARGUMENTS, ASKED, COMMAND, ENVIRONMENT, got_blocks, offered, serve
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def approve(context, params):
    from mcp.types import ElicitResult

    ASKED.append(params.message)
    return ElicitResult(action="accept", content={"approve": True})


async def main():
    server = StdioServerParameters(command=COMMAND, args=ARGUMENTS, env=ENVIRONMENT)
    can_ask = "elicitation_callback" in inspect.signature(ClientSession).parameters
    asking = {"elicitation_callback": approve} if can_ask else {}
    async with stdio_client(server) as (read, write), ClientSession(read, write, **asking) as session:
        await session.initialize()

        async def tools():
            return offered((await session.list_tools()).tools)

        async def call(tool, arguments):
            return got_blocks((await session.call_tool(tool, arguments)).content)

        await serve(tools, call)


asyncio.run(main())
