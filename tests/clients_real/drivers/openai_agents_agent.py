"""The OpenAI Agents SDK: an agent whose model makes the call that it is told to make; STRICT=1 for strict schemas."""

import asyncio
import json
import os

from agents import Agent, Model, ModelResponse, Runner, Usage, set_tracing_disabled
from agents.mcp import MCPServerStdio
from lines import ARGUMENTS, COMMAND, ENVIRONMENT, filled, got, serve
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

STRICT = os.environ.get("STRICT") == "1"
WANTED, SEEN, LISTED = [], [], {}


class Scripted(Model):
    async def get_response(self, system_instructions, input, model_settings, tools, *args, **kwargs):
        LISTED.clear()
        LISTED.update({t.name: {"description": t.description, "schema": t.params_json_schema} for t in tools})
        if WANTED:
            tool, arguments = WANTED.pop()
            if STRICT and tool in LISTED:
                arguments = filled(arguments, LISTED[tool]["schema"])
            item = ResponseFunctionToolCall(
                call_id="1", name=tool, arguments=json.dumps(arguments), type="function_call"
            )
        else:
            SEEN[:] = [each["output"] for each in input if each.get("type") == "function_call_output"]
            text = ResponseOutputText(text="done", type="output_text", annotations=[])
            item = ResponseOutputMessage(id="m", content=[text], role="assistant", status="completed", type="message")
        return ModelResponse(output=[item], usage=Usage(), response_id=None)

    def stream_response(self, *args, **kwargs):
        raise NotImplementedError


async def main():
    set_tracing_disabled(True)
    server = MCPServerStdio(
        {"command": COMMAND, "args": ARGUMENTS, "env": ENVIRONMENT}, client_session_timeout_seconds=30
    )
    async with server:
        config = {"convert_schemas_to_strict": STRICT}
        agent = Agent(name="assistant", model=Scripted(), mcp_servers=[server], mcp_config=config)

        async def tools():
            await Runner.run(agent, "Which tools are there?")
            return dict(LISTED)

        async def call(tool, arguments):
            WANTED[:], SEEN[:] = [(tool, arguments)], []
            await Runner.run(agent, "Call it.")
            [output] = SEEN
            blocks = output if isinstance(output, list) else [{"type": "input_text", "text": output}]
            texts = [block["text"] for block in blocks if block["type"] == "input_text"]
            pictures = [b["image_url"].partition("base64,")[2] for b in blocks if b["type"] == "input_image"]
            return got("\n".join(texts), pictures)

        await serve(tools, call)


asyncio.run(main())
