"""The Python SDK (`mcp`), version 2; ERA=auto or legacy."""

import asyncio

from lines import ARGUMENTS, ASKED, COMMAND, ENVIRONMENT, got_blocks, offered, serve
from mcp import Client, StdioServerParameters
from mcp.types import ElicitResult


async def approve(context, params):
    ASKED.append(params.message)
    return ElicitResult(action="accept", content={"approve": True})


async def main():
    server = StdioServerParameters(command=COMMAND, args=ARGUMENTS, env=ENVIRONMENT)
    async with Client(server, elicitation_callback=approve, mode=ENVIRONMENT.get("ERA", "auto")) as client:

        async def tools():
            return offered((await client.list_tools()).tools)

        async def call(tool, arguments):
            return got_blocks((await client.call_tool(tool, arguments)).content)

        await serve(tools, call)


asyncio.run(main())
