"""LangChain: an agent whose model makes the call that it is told to make."""

import asyncio

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_mcp_adapters.callbacks import Callbacks
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools
from lines import ARGUMENTS, ASKED, COMMAND, ENVIRONMENT, got, serve
from mcp.types import ElicitResult

WANTED, SEEN, LISTED = [], [], {}


class Scripted(BaseChatModel):
    @property
    def _llm_type(self):
        return "scripted"

    def bind_tools(self, tools, **_):
        LISTED.clear()
        for tool in map(convert_to_openai_tool, tools):
            function = tool["function"]
            LISTED[function["name"]] = {"description": function["description"], "schema": function["parameters"]}
        return self

    def _generate(self, messages, *_, **__):
        if WANTED:
            tool, arguments = WANTED.pop()
            answer = AIMessage("", tool_calls=[{"name": tool, "args": arguments, "id": "1", "type": "tool_call"}])
        else:
            SEEN[:] = [message for message in messages if isinstance(message, ToolMessage)]
            answer = AIMessage("done")
        return ChatResult(generations=[ChatGeneration(message=answer)])


async def approve(context, params, callback_context):
    ASKED.append(params.message)
    return ElicitResult(action="accept", content={"approve": True})


async def main():
    client = MultiServerMCPClient(
        {"whatsapp": {"transport": "stdio", "command": COMMAND, "args": ARGUMENTS, "env": ENVIRONMENT}},
        callbacks=Callbacks(on_elicitation=approve),
    )
    async with client.session("whatsapp") as session:
        found = await load_mcp_tools(session)

        async def tools():
            await create_agent(Scripted(), await load_mcp_tools(session)).ainvoke({"messages": [("user", "?")]})
            return dict(LISTED)

        async def call(tool, arguments):
            WANTED[:], SEEN[:] = [(tool, arguments)], []
            await create_agent(Scripted(), found).ainvoke({"messages": [("user", "Call it.")]})
            blocks = SEEN[0].content_blocks
            texts = [block["text"] for block in blocks if block["type"] == "text"]
            data = {kind: [b["base64"] for b in blocks if b["type"] == kind] for kind in ("image", "audio")}
            return got("\n".join(texts), data["image"], data["audio"])

        await serve(tools, call)


asyncio.run(main())
