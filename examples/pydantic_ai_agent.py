# /// script
# requires-python = ">=3.11"
# dependencies = ["pydantic-ai-slim[mcp]>=2.60,<3"]
# ///
"""A Pydantic AI agent with WhatsApp, on the embedded WAHA and with a scripted model: no phone, no key, no service.

    uv run examples/pydantic_ai_agent.py

It needs `waha-mcp` on the PATH. For real use, put a real model in place of `FunctionModel(...)` and
`args=["serve", "--app", "assistant"]` in place of `--sandbox`.
"""

import asyncio
import json
import os

from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel


def scripted(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Stands in for a model: looks at the chats, answers the first person, and reports."""
    results = [part for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]
    if not results:
        return ModelResponse([ToolCallPart("list_chats", {"limit": 10})])
    if len(results) == 1:
        chats = results[0].content
        chats = json.loads(chats) if isinstance(chats, str) else chats
        person = next(chat for chat in chats["chats"] if "id" not in chat)  # a saved person
        return ModelResponse([ToolCallPart("send_text", {"chat": person["name"], "text": "Hello from Pydantic AI"})])
    return ModelResponse([TextPart(f"Tools: {len(info.function_tools)}. Sent: {results[1].content}")])


async def main() -> None:
    whatsapp = MCPToolset(StdioTransport(command="waha-mcp", args=["serve", "--sandbox"], env=dict(os.environ)))
    agent = Agent(FunctionModel(scripted), toolsets=[whatsapp])
    async with agent:
        result = await agent.run("Say hello to whoever wrote last.")
    print(result.output)


if __name__ == "__main__":
    asyncio.run(main())
