# /// script
# requires-python = ">=3.11"
# dependencies = ["mcp>=2.3,<3"]
# ///
"""Like an agent: "What did I agree with Maya Lindqvist about Friday?", and then an answer to her. Three calls.

    WAHA_URL=http://localhost:3000 WAHA_API_KEY=... uv run examples/answer_about_friday.py "Maya Lindqvist" Friday

Without a key it serves the embedded WAHA, where Maya is. It needs `waha-mcp` on the PATH.
"""

import asyncio
import json
import os
import sys
from typing import Any

from mcp import Client, StdioServerParameters


async def main(name: str, topic: str) -> None:
    arguments = ["serve"] if "WAHA_API_KEY" in os.environ else ["serve", "--sandbox"]
    server = StdioServerParameters(command="waha-mcp", args=arguments, env=dict(os.environ))
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
        print(f"Answered with message_id {sent['message_id']}: {reply}")


if __name__ == "__main__":
    asyncio.run(main(*(sys.argv[1:] or ["Maya Lindqvist", "Friday"])))
