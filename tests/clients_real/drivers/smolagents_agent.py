"""smolagents: an agent whose model makes the call that it is told to make."""

import asyncio
import base64
import io

from lines import ARGUMENTS, COMMAND, ENVIRONMENT, filled, got, serve
from mcp import StdioServerParameters
from smolagents import MCPClient, Model, ToolCallingAgent
from smolagents.models import (
    ChatMessage,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    MessageRole,
    get_tool_json_schema,
)

WANTED, SEEN, LISTED = [], [], {}


class Scripted(Model):
    def generate(self, messages, stop_sequences=None, response_format=None, tools_to_call_from=None, **kwargs):
        LISTED.clear()
        for function in [get_tool_json_schema(tool)["function"] for tool in tools_to_call_from or []]:
            LISTED[function["name"]] = {"description": function["description"], "schema": function["parameters"]}
        if WANTED:
            tool, arguments = WANTED.pop()
            # The framework tells a model that all are required, and refuses a call without one.
            arguments = filled(arguments, LISTED[tool]["schema"])
        else:
            SEEN[:] = [part for message in messages[2:] for part in message.content]
            tool, arguments = "final_answer", {"answer": "done"}
        function = ChatMessageToolCallFunction(name=tool, arguments=arguments)
        call = ChatMessageToolCall(id="1", type="function", function=function)
        return ChatMessage(role=MessageRole.ASSISTANT, content="", tool_calls=[call])


def data_of(image):
    file = io.BytesIO()
    image.save(file, image.format or "PNG")
    return base64.b64encode(file.getvalue()).decode()


async def main():
    server = StdioServerParameters(command=COMMAND, args=ARGUMENTS, env=ENVIRONMENT)
    with MCPClient(server, structured_output=False) as found:
        agent = ToolCallingAgent(tools=found, model=Scripted(), verbosity_level=0)

        async def tools():
            await asyncio.to_thread(agent.run, "Which tools are there?")
            return dict(LISTED)

        async def call(tool, arguments):
            WANTED[:], SEEN[:] = [(tool, arguments)], []
            await asyncio.to_thread(agent.run, "Call it.")
            texts = [part["text"] for part in SEEN if part["type"] == "text"]
            return got("\n".join(texts), [data_of(part["image"]) for part in SEEN if part["type"] == "image"])

        await serve(tools, call)


asyncio.run(main())
