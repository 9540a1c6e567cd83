# /// script
# requires-python = ">=3.11"
# dependencies = ["openai-agents>=0.24,<0.25"]
# ///
"""An OpenAI Agents SDK agent with WhatsApp, on the embedded WAHA and with a scripted model: no phone, no key.

    uv run examples/openai_agents_agent.py

It needs `waha-mcp` on the PATH. For real use, leave `model=Scripted()` out and put `"args": ["serve", "--app",
"assistant"]` in place of `--sandbox`.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any

from agents import Agent, Model, ModelResponse, Runner, Usage, set_tracing_disabled
from agents.mcp import MCPServerStdio
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputItem,
    ResponseOutputMessage,
    ResponseOutputText,
)


class Scripted(Model):
    """Stands in for a model: looks at the chats, answers the first person, and reports."""

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> ModelResponse:
        items = input if isinstance(input, list) else []
        results = [text_of(item["output"]) for item in items if item.get("type") == "function_call_output"]
        if not results:
            return say(call("list_chats", limit=10))
        if len(results) == 1:
            chats = json.loads(results[0])["chats"]
            person = next(chat for chat in chats if "id" not in chat)  # a saved person
            return say(call("send_text", chat=person["name"], text="Hello from the OpenAI Agents SDK"))
        text = ResponseOutputText(text=f"Sent: {results[1]}", type="output_text", annotations=[])
        message = ResponseOutputMessage(id="m", content=[text], role="assistant", status="completed", type="message")
        return say(message)

    def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        raise NotImplementedError


def say(item: ResponseOutputItem) -> ModelResponse:
    return ModelResponse(output=[item], usage=Usage(), response_id=None)


def call(tool: str, **arguments: Any) -> ResponseFunctionToolCall:
    return ResponseFunctionToolCall(call_id=tool, name=tool, arguments=json.dumps(arguments), type="function_call")


def text_of(output: Any) -> str:
    """The text of a tool's result, which comes as JSON text or as content blocks."""
    if isinstance(output, list):
        return "".join(block["text"] for block in output)
    found = json.loads(output)
    return found["text"] if isinstance(found, dict) and found.get("type") == "text" else output


async def main() -> None:
    set_tracing_disabled(True)
    server = MCPServerStdio(
        {"command": "waha-mcp", "args": ["serve", "--sandbox"], "env": dict(os.environ)},
        cache_tools_list=True,
        client_session_timeout_seconds=30,
    )
    async with server:
        agent = Agent(name="assistant", model=Scripted(), mcp_servers=[server])
        result = await Runner.run(agent, "Say hello to whoever wrote last.")
        print(f"Tools: {len(await server.list_tools())}. {result.final_output}")


if __name__ == "__main__":
    asyncio.run(main())
