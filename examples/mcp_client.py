# /// script
# requires-python = ">=3.11"
# dependencies = ["mcp>=2.3,<3"]
# ///
"""A plain MCP client: launch waha-mcp over stdio, list its tools, show the newest chats, write to one person.

    WAHA_URL=http://localhost:3000 WAHA_API_KEY=... uv run examples/mcp_client.py "+1 202 555 0123" "Hello!"

Without a key it serves the embedded WAHA and writes to somebody there. It needs `waha-mcp` on the PATH.
"""

import asyncio
import json
import os
import sys

from mcp import Client, StdioServerParameters


async def main(recipient: str | None = None, text: str | None = None) -> None:
    arguments = ["serve"]
    if "WAHA_API_KEY" not in os.environ:
        arguments, recipient, text = ["serve", "--sandbox"], "Sam Okafor", "Hello from a plain client"
    server = StdioServerParameters(command="waha-mcp", args=arguments, env=dict(os.environ))
    async with Client(server) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        print("Tools:", ", ".join(tools))

        if "list_chats" in tools:
            result = await client.call_tool("list_chats", {"limit": 5})
            for chat in json.loads(result.content[0].text)["chats"]:
                print(f"- {chat['name']}: {chat.get('text', '')}")

        if recipient and text:
            result = await client.call_tool("send_text", {"chat": recipient, "text": text})
            # An error is text for the agent to act on, not an exception.
            print(result.content[0].text)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
