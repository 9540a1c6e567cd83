"""FastMCP's client."""

import asyncio

from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from lines import ARGUMENTS, ASKED, COMMAND, ENVIRONMENT, got_blocks, offered, serve


async def approve(message, response_type, params, context):
    ASKED.append(message)
    return {"approve": True}


async def main():
    transport = StdioTransport(command=COMMAND, args=ARGUMENTS, env=ENVIRONMENT)
    async with Client(transport, elicitation_handler=approve, init_timeout=60) as client:

        async def tools():
            return offered(await client.list_tools())

        async def call(tool, arguments):
            return got_blocks((await client.call_tool(tool, arguments, raise_on_error=False)).content)

        await serve(tools, call)


asyncio.run(main())
