"""The clients, and what each of them cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: Nothing of it reached the model; it reached the model as base64 inside the text; it ended the agent's run.
DROPPED, AS_TEXT, ENDED = "dropped", "base64 text", "ends the run"
#: The client asks nobody, so the question went to the user's terminal; a tool that is gone is still offered.
CONSOLE, STALE = "at the console", "stays listed"
#: The client probes the protocol version in a separate process, which lists nothing.
UNPREPARED_PROBE = "not its probe"
#: The model is told that every argument is required.
ALL_REQUIRED = "all required"


@dataclass(frozen=True)
class Limit:
    """What a client cannot do.

    `outcome` is one of the words above, and `why` says more; `code` is the line that causes it, without its indent: it
    occurs once in the client's `file` (among its packages).
    """

    outcome: str
    why: str
    file: str
    code: str


@dataclass(frozen=True, eq=False)
class Client:
    """A client: its name, what is installed (the client itself first, with its version), and its driver.

    `note`: its setup, or what else it needs. `limits`: by line of the table.
    """

    name: str
    requirements: tuple[str, ...]
    driver: str
    env: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    limits: Mapping[str, Limit] = field(default_factory=dict)

    @property
    def version(self) -> str:
        return self.requirements[0].replace("@", "==").rpartition("==")[2]

    @property
    def title(self) -> str:
        return f"{self.name} {self.version}{self.note and f' ({self.note})'}"


def _asks_nobody(file: str, code: str) -> Limit:
    return Limit(CONSOLE, "declares no elicitation, so that questions go to `waha-mcp console`", file, code)


_ADK_DUMPS = Limit(
    AS_TEXT,
    "hands the whole result to the model as JSON, files as base64 in it",
    "google/adk/tools/mcp_tool/mcp_tool.py",
    "result = _dump_mcp_model(response)",
)
_CREWAI_NAMES = Limit(
    DROPPED,
    "puts the kind and type of a file in place of it",
    "crewai/mcp/content.py",
    'parts.append(f"[{block.type}: {block.mimeType}]")',
)
_SMOLAGENTS_FIRST = Limit(
    DROPPED,
    "takes the first part of a result and no other, and never shows a model a picture that a tool returned",
    "mcpadapt/smolagents_adapter.py",
    "content_item = mcp_output.content[0]",
)
_OPENAI_LIMITS = {
    "its sound": Limit(
        AS_TEXT,
        "hands what is neither text nor picture to the model as JSON, in base64",
        "agents/mcp/util.py",
        'ToolOutputTextDict(type="text", text=item.model_dump_json())',
    ),
    "asked": _asks_nobody("agents/mcp/server.py", "cast(timedelta | None, read_timeout),"),
}

CLIENTS = (
    Client(
        "Python SDK",
        ("mcp==1.9.4", "pydantic<2.12"),
        "python_sdk_1.py",
        note="with pydantic<2.12",
        limits={"asked": _asks_nobody("mcp/client/session.py", "capabilities=types.ClientCapabilities(")},
    ),
    Client("Python SDK", ("mcp==1.12.4", "pydantic<2.12"), "python_sdk_1.py", note="with pydantic<2.12"),
    Client("Python SDK", ("mcp==1.30.0",), "python_sdk_1.py"),
    Client("Python SDK", ("mcp==2.3.0",), "python_sdk_2.py"),
    Client("Python SDK", ("mcp==2.3.0",), "python_sdk_2.py", env={"ERA": "legacy"}, note="older protocol"),
    Client(
        "TypeScript SDK",
        ("@modelcontextprotocol/sdk@1.12.3",),
        "typescript_sdk_1.mjs",
        limits={
            "asked": _asks_nobody(
                "@modelcontextprotocol/sdk/dist/esm/types.js", "export const ServerRequestSchema = z.union(["
            )
        },
    ),
    Client("TypeScript SDK", ("@modelcontextprotocol/sdk@1.32.2",), "typescript_sdk_1.mjs"),
    Client("TypeScript client", ("@modelcontextprotocol/client@2.4.0",), "typescript_sdk_2.mjs"),
    Client(
        "TypeScript client",
        ("@modelcontextprotocol/client@2.4.0",),
        "typescript_sdk_2.mjs",
        env={"ERA": "auto"},
        note="newer protocol",
        limits={
            "opens again": Limit(
                UNPREPARED_PROBE,
                "asks which versions there are in a process of its own, which lists nothing and ends",
                "@modelcontextprotocol/client/dist/public-CvV4ZHkX.mjs",
                "const sibling = new SiblingTransport({",
            )
        },
    ),
    Client("FastMCP", ("fastmcp==4.2.3",), "fastmcp_client.py"),
    Client(
        "Pydantic AI",
        ("pydantic-ai-slim[mcp]==2.68.0",),
        "pydantic_ai_agent.py",
        limits={
            "revoked": Limit(
                STALE,
                "keeps the first listing until it is told of a change, and never subscribes to being told; "
                "`cache_tools=False` lists anew",
                "pydantic_ai/mcp.py",
                "if self.cache_tools and self._cached_tools is not None:",
            )
        },
    ),
    Client(
        "LangChain",
        ("langchain-mcp-adapters==0.3.2", "langchain==1.5.2"),
        "langchain_agent.py",
        note="adapters",
        limits={
            "its sound": Limit(
                ENDED,
                "raises NotImplementedError for a result with sound, which ends the agent's run",
                "langchain_mcp_adapters/tools.py",
                "if isinstance(content, AudioContent):",
            )
        },
    ),
    Client("OpenAI Agents SDK", ("openai-agents==0.24.0",), "openai_agents_agent.py", limits=_OPENAI_LIMITS),
    Client(
        "OpenAI Agents SDK",
        ("openai-agents==0.24.0",),
        "openai_agents_agent.py",
        env={"STRICT": "1"},
        note="strict schemas",
        limits=_OPENAI_LIMITS
        | {
            "schemas": Limit(
                ALL_REQUIRED,
                "makes every argument required where it can convert a schema",
                "agents/strict_schema.py",
                'json_schema["required"] = list(properties.keys())',
            )
        },
    ),
    Client(
        "Google ADK",
        ("google-adk[mcp]==2.13.0",),
        "google_adk_agent.py",
        limits={"picture": _ADK_DUMPS, "its sound": _ADK_DUMPS},
    ),
    Client(
        "CrewAI",
        ("crewai==1.15.30",),
        "crewai_agent.py",
        limits={
            "schemas": Limit(
                ALL_REQUIRED,
                "makes every argument required, with null for those left out",
                "crewai/utilities/pydantic_schema_utils.py",
                "json_schema = ensure_all_properties_required(json_schema)",
            ),
            "picture": _CREWAI_NAMES,
            "its sound": _CREWAI_NAMES,
            "asked": _asks_nobody("crewai/mcp/client.py", "self._session = ClientSession("),
        },
    ),
    Client(
        "smolagents",
        ("smolagents[mcp]==1.26.0", "mcp==1.30.0"),
        "smolagents_agent.py",
        note="with mcp<2",
        limits={
            "schemas": Limit(
                ALL_REQUIRED,
                "makes every argument required and refuses null, so that models give empty values",
                "smolagents/models.py",
                "required.append(key)",
            ),
            "picture": _SMOLAGENTS_FIRST,
            "its sound": _SMOLAGENTS_FIRST,
            "asked": _asks_nobody("mcpadapt/core.py", "async with ClientSession("),
            "revoked": Limit(
                STALE,
                "lists the tools once",
                "smolagents/mcp_client.py",
                "self._tools: list[Tool] = self._adapter.__enter__()",
            ),
        },
    ),
)
