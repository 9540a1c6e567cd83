"""CrewAI: an agent whose model makes the call that it is told to make, with the framework's own MCP client."""

import asyncio
import json

from crewai import Agent, BaseLLM
from crewai.mcp import MCPServerStdio
from lines import ARGUMENTS, COMMAND, ENVIRONMENT, filled, got, serve

WANTED, SEEN, LISTED = [], [], {}


class Scripted(BaseLLM):
    def supports_function_calling(self):
        return True

    def call(self, messages, tools=None, *args, **kwargs):
        functions = [tool["function"] for tool in tools or []]
        # The framework puts the server's command line in front of each name.
        names = sorted(function["name"] for function in functions) or [""]
        differ = [first != last for first, last in zip(names[0], names[-1], strict=False)]
        prefix = names[0][: differ.index(True)] if any(differ) else ""
        LISTED.clear()
        for function in functions:
            name = function["name"].removeprefix(prefix)
            LISTED[name] = {"description": function["description"], "schema": function["parameters"]}
        if WANTED:
            tool, arguments = WANTED.pop()
            # The framework tells a model that all arguments are required.
            arguments = filled(arguments, LISTED[tool]["schema"])
            function = {"name": prefix + tool, "arguments": json.dumps(arguments)}
            return [{"id": "1", "type": "function", "function": function}]
        SEEN[:] = [message["content"] for message in messages if message["role"] == "tool"]
        return "Thought: I now know the final answer\nFinal Answer: done"


async def main():
    server = MCPServerStdio(command=COMMAND, args=ARGUMENTS, env=ENVIRONMENT)

    def agent():
        return Agent(
            role="assistant", goal="help", backstory="", llm=Scripted(model="scripted"), mcps=[server], verbose=False
        )

    async def tools():
        await asyncio.to_thread(agent().kickoff, "Which tools are there?")
        return dict(LISTED)

    async def call(tool, arguments):
        WANTED[:], SEEN[:] = [(tool, arguments)], []
        await asyncio.to_thread(agent().kickoff, "Call it.")
        return got("\n".join(map(str, SEEN)))

    await serve(tools, call)


asyncio.run(main())
