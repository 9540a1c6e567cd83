"""Pydantic AI: an agent whose model, one of the framework's own for tests, makes the call that it is told to make."""

import asyncio
import base64

from fastmcp.client.transports import StdioTransport, StreamableHttpTransport
from lines import ARGUMENTS, ASKED, COMMAND, ENVIRONMENT, HEADERS, URL, got, serve
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import BinaryContent, ModelResponse, RetryPromptPart, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel


async def approve(message, response_type, params, context):
    ASKED.append(message)
    return {"approve": True}


async def main():
    if URL is None:
        transport = StdioTransport(command=COMMAND, args=ARGUMENTS, env=ENVIRONMENT)
    else:
        transport = StreamableHttpTransport(URL, HEADERS)
    # On a busy machine no server starts within the 5 s that it waits.
    toolset = MCPToolset(transport, elicitation_handler=approve, init_timeout=60)
    wanted, seen, listed = [], [], {}

    def scripted(messages, info):
        listed.clear()
        for tool in info.function_tools:
            listed[tool.name] = {"description": tool.description, "schema": tool.parameters_json_schema}
        if wanted:
            tool, arguments = wanted.pop()
            return ModelResponse([ToolCallPart(tool, arguments)])
        seen[:] = [part for part in messages[-1].parts if isinstance(part, ToolReturnPart | RetryPromptPart)]
        return ModelResponse([TextPart("done")])

    agent = Agent(FunctionModel(scripted), toolsets=[toolset])
    async with agent:

        async def tools():
            await agent.run("Which tools are there?")
            return dict(listed)

        async def call(tool, arguments):
            wanted[:], seen[:] = [(tool, arguments)], []
            await agent.run("Call it.")
            [part] = seen
            if isinstance(part, RetryPromptPart):
                return got(part.model_response())
            files = [each for each in part.files if isinstance(each, BinaryContent)]
            data = {
                kind: [base64.b64encode(file.data).decode() for file in files if file.media_type.startswith(kind)]
                for kind in ("image", "audio")
            }
            return got(part.model_response_str(), data["image"], data["audio"])

        await serve(tools, call)


asyncio.run(main())
