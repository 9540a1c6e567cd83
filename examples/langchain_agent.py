# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain>=1.0,<2", "langchain-mcp-adapters>=0.3,<0.4"]
# ///
"""A LangChain agent with WhatsApp, on the embedded WAHA and with a scripted model: no phone, no key, no service.

    uv run examples/langchain_agent.py

It needs `waha-mcp` on the PATH, in an environment of its own: the adapters use an older MCP SDK. For real use, put a
real model in place of `Scripted()` and `"args": ["serve", "--app", "assistant"]` in place of `--sandbox`.
"""

import asyncio
import json
import os
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools


class Scripted(BaseChatModel):
    """Stands in for a model: looks at the chats, answers the first person, and reports."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **_: Any) -> "Scripted":
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        results = [message for message in messages if isinstance(message, ToolMessage)]
        if not results:
            answer = AIMessage("", tool_calls=[call("list_chats", limit=10)])
        elif len(results) == 1:
            chats = json.loads(text_of(results[0]))["chats"]
            person = next(chat for chat in chats if "id" not in chat)  # a saved person
            answer = AIMessage("", tool_calls=[call("send_text", chat=person["name"], text="Hello from LangChain")])
        else:
            answer = AIMessage(f"Sent: {text_of(results[1])}")
        return ChatResult(generations=[ChatGeneration(message=answer)])


def call(tool: str, **arguments: Any) -> dict[str, Any]:
    return {"name": tool, "args": arguments, "id": tool, "type": "tool_call"}


def text_of(message: ToolMessage) -> str:
    """The text of a tool's result, which is plain or in blocks."""
    if isinstance(message.content, str):
        return message.content
    return "".join(block["text"] for block in message.content if block["type"] == "text")


async def main() -> None:
    client = MultiServerMCPClient(
        {
            "whatsapp": {
                "transport": "stdio",
                "command": "waha-mcp",
                "args": ["serve", "--sandbox"],
                "env": dict(os.environ),
            }
        }
    )
    # One session for the whole run; client.get_tools() would launch a server per call.
    async with client.session("whatsapp") as session:
        tools = await load_mcp_tools(session)
        agent = create_agent(Scripted(), tools)
        result = await agent.ainvoke({"messages": [("user", "Say hello to whoever wrote last.")]})
    print(f"Tools: {len(tools)}. {result['messages'][-1].content}")


if __name__ == "__main__":
    asyncio.run(main())
