"""MCP prompts: templates of frequent requests. Each is listed only if all its tools are exposed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import mcp.types as types
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS

from waha_mcp.bridge import Bridge


@dataclass(frozen=True)
class Argument:
    """One argument of a prompt. `said`: text appended if it is given, with its name in braces as placeholder."""

    description: str
    required: bool = False
    said: str = ""


@dataclass(frozen=True)
class Prompt:
    """One prompt. `tools`: names of the tools it needs; `text`: with required arguments in braces as placeholders."""

    title: str
    description: str
    tools: frozenset[str]
    text: str
    arguments: Mapping[str, Argument]


PROMPTS: Mapping[str, Prompt] = {
    "catch_up": Prompt(
        title="Catch up",
        description="Sum up what is new on WhatsApp and what waits for an answer",
        tools=frozenset({"get_unread", "get_messages"}),
        text="Show me what is new on WhatsApp. Use get_unread, and get_messages where a chat needs more context. "
        "Sum up each chat in one or two lines, the most urgent first, and list what waits for an answer from me. "
        "Mark nothing as read and send nothing.",
        arguments={"focus": Argument("A person, group or topic to look at first", said=" Look first at: {focus}.")},
    ),
    "draft_reply": Prompt(
        title="Draft a reply",
        description="Draft an answer in one chat, in my own style, without sending it",
        tools=frozenset({"get_messages"}),
        text="Draft a reply to the last messages of the WhatsApp chat with {chat}. Read it with get_messages, write "
        "as I write there, in the language of the chat, and show me the draft. Send nothing before I say so.",
        arguments={
            "chat": Argument("Name, number or id of the chat", required=True),
            "wish": Argument("What the reply should say", said=" It should say: {wish}."),
        },
    ),
    "find_and_summarize": Prompt(
        title="Find and sum up",
        description="Search the messages for a topic and sum up what was said and agreed",
        tools=frozenset({"search_messages", "get_message"}),
        text="Find what was said on WhatsApp about: {query}. Use search_messages, trying other words and going on with "
        "its cursor where it did not look far enough, and get_message to see hits in their context. Sum up what was "
        "said and agreed, by whom and when.",
        arguments={
            "query": Argument("What to look for", required=True),
            "chat": Argument(
                "Name, number or id of the only chat to search", said=" Search only the chat with {chat}."
            ),
        },
    ),
}


class Prompts:
    """The prompts of one bridge."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def offered(self) -> dict[str, Prompt]:
        """The prompts whose tools are all exposed now, by name."""
        tools = {tool.name for tool in self._bridge.tools()}
        return {name: prompt for name, prompt in PROMPTS.items() if prompt.tools <= tools}

    async def listed(self) -> list[types.Prompt]:
        """The answer to prompts/list."""
        await self._bridge.key.listable()
        return [
            types.Prompt(
                name=name,
                title=prompt.title,
                description=prompt.description,
                arguments=[
                    types.PromptArgument(name=each, description=argument.description, required=argument.required)
                    for each, argument in prompt.arguments.items()
                ],
            )
            for name, prompt in self.offered().items()
        ]

    async def get(self, name: str, arguments: Mapping[str, str]) -> types.GetPromptResult:
        """The answer to prompts/get: a prompt with its arguments filled in.

        Raises:
            MCPError: unknown prompt, or wrong arguments.
        """
        await self._bridge.key.settle()
        prompt = self.offered().get(name)
        if prompt is None:
            raise MCPError(INVALID_PARAMS, f"Unknown prompt: {name}")
        given = {each: value.strip() for each, value in arguments.items() if value.strip()}
        wrong = [f"unknown argument {each}" for each in given.keys() - prompt.arguments.keys()]
        wrong += [f"{each} is required" for each, a in prompt.arguments.items() if a.required and each not in given]
        if wrong:
            raise MCPError(INVALID_PARAMS, f"{name}: {'; '.join(sorted(wrong))}")
        text = _filled(prompt.text, given)
        text += "".join(_filled(prompt.arguments[each].said, given) for each in prompt.arguments if each in given)
        message = types.PromptMessage(role="user", content=types.TextContent(text=text))
        return types.GetPromptResult(description=prompt.description, messages=[message])


def _filled(text: str, given: Mapping[str, str]) -> str:
    for name, value in given.items():
        text = text.replace(f"{{{name}}}", value)
    return text
