"""Google's Agent Development Kit: an agent whose model makes the call that it is told to make."""

import asyncio
import base64
import json

from google.adk.agents import LlmAgent
from google.adk.models import BaseLlm, LlmResponse
from google.adk.runners import InMemoryRunner
from google.adk.tools.mcp_tool.mcp_session_manager import StdioConnectionParams
from google.adk.tools.mcp_tool.mcp_toolset import McpToolset
from google.genai import types
from lines import ARGUMENTS, ASKED, COMMAND, ENVIRONMENT, got, serve
from mcp import StdioServerParameters
from mcp.types import ElicitResult

WANTED, SEEN, LISTED = [], [], {}


class Scripted(BaseLlm):
    async def generate_content_async(self, llm_request, stream=False):
        LISTED.clear()
        for declared in [each for tool in llm_request.config.tools or [] for each in tool.function_declarations]:
            schema = declared.parameters_json_schema or declared.parameters.model_dump(exclude_none=True, mode="json")
            LISTED[declared.name] = {"description": declared.description, "schema": schema}
        if WANTED:
            tool, arguments = WANTED.pop()
            part = types.Part(function_call=types.FunctionCall(name=tool, args=arguments))
        else:
            SEEN[:] = llm_request.contents[-1].parts
            part = types.Part(text="done")
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


async def approve(context, params):
    ASKED.append(params.message)
    return ElicitResult(action="accept", content={"approve": True})


async def main():
    server = StdioServerParameters(command=COMMAND, args=ARGUMENTS, env=ENVIRONMENT)
    toolset = McpToolset(
        connection_params=StdioConnectionParams(server_params=server, timeout=30), elicitation_callback=approve
    )
    runner = InMemoryRunner(agent=LlmAgent(name="assistant", model=Scripted(model="scripted"), tools=[toolset]))

    async def tools():
        await runner.run_debug("Which tools are there?", quiet=True)
        return dict(LISTED)

    async def call(tool, arguments):
        WANTED[:], SEEN[:] = [(tool, arguments)], []
        await runner.run_debug("Call it.", quiet=True)
        texts, data = [], {"image": [], "audio": []}
        for response in [part.function_response for part in SEEN if part.function_response]:
            texts.append(json.dumps(response.response, ensure_ascii=False))
            for blob in [part.inline_data for part in response.parts or [] if part.inline_data]:
                data[blob.mime_type.partition("/")[0]].append(base64.b64encode(blob.data).decode())
        return got("\n".join(texts), data["image"], data["audio"])

    try:
        await serve(tools, call)
    finally:
        await toolset.close()


asyncio.run(main())
