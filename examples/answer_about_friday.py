"""Like an agent: "What did I agree with Maya Lindqvist about Friday?", and then an answer to her. Three calls.

Set WAHA_URL and WAHA_API_KEY; `waha-mcp sandbox --json` gives both for trying it out.
"""

import json
import os
import sys
from typing import Any

import anyio
from mcp import Client, StdioServerParameters


async def main(name: str, topic: str) -> None:
    server = StdioServerParameters(command="waha-mcp", args=["serve"], env=dict(os.environ))
    async with Client(server) as client:

        async def call(tool: str, **arguments: Any) -> dict[str, Any]:
            result = await client.call_tool(tool, arguments)
            text = "\n".join(block.text for block in result.content if block.type == "text")
            return sys.exit(text) if result.is_error else json.loads(text)

        # A person is named as the user names them; a name that is not clear would come back as a list of candidates.
        found = await call("search_messages", query=topic, chat=name)
        if not found["hits"]:
            sys.exit(f"{name} and I have not written about {topic}.")

        # The longest line about it most likely sums it up; a model would judge better. What came around it?
        best = max(found["hits"], key=lambda hit: len(hit["text"]))
        view = await call("get_message", message_id=best["id"], before=8, after=2)
        print(f"What {view['chat']} and I wrote about {topic}:")
        for message in [*view.get("before", []), view["message"], *view.get("after", [])]:
            who = "me" if message["sender"] == "me" else view["chat"]
            print(f"  {message['time']} {who}: {message.get('text') or '[' + message['kind'] + ']'}")

        reply = f"About {topic}: everything as agreed, see you then!"
        sent = await call("send_text", chat=view["chat"], text=reply, reply_to=best["id"])
        print(f"Answered with {sent['message_id']}: {reply}")


anyio.run(main, *(sys.argv[1:] or ["Maya Lindqvist", "Friday"]))
