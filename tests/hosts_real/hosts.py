"""One record per real host: how it is installed, told where its model is, kept from calling home, and run.

To add a host, write a record and put it into HOSTS. Its `name` is that of `waha_mcp.hosts.table`, so that
`waha-mcp install NAME` writes its entry. `prepare` writes its configuration before that, into the home of the test's
own; `environment` gives variables on top of HOME, PATH and the proxy that lets nothing out. Both get a `Place`, whose
`model` is the base URL of the scripted service (see `model.py`; it speaks the wires of `wires.py` under any path).
`listing` are the arguments of its listing or health command, `prompt` those that run one prompt without a person.
Log-ins and telemetry, update checks and error reports are switched off by the host's own settings; what it still wants
from elsewhere fails a test. What the host itself cannot do goes into `limits`: the test of that line must then fail,
and the page says the limit. `python -m tests.hosts_real --show HOST --bodies FILE` prints what the model sees of one host.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.hosts_real.model import Search


@dataclass(frozen=True)
class Place:
    """Where a host runs: a home of its own, and its model's base URL."""

    home: Path
    model: str


@dataclass(frozen=True)
class Limit:
    """What a host itself does not do, and where in its package that is to be read."""

    what: str
    where: str = ""


@dataclass(frozen=True)
class Host:
    name: str
    title: str
    package: str
    version: str
    program: str
    #: Arguments of its listing or health command, and what it says of a server that it accepts.
    listing: tuple[str, ...]
    accepts: str
    prompt: Callable[[str], list[str]]
    environment: Callable[[Place], dict[str, str]]
    prepare: Callable[[Place], None] = lambda place: None
    #: Written after `waha-mcp install`, for what a user must set besides.
    finish: Callable[[Place], None] = lambda place: None
    #: The host's own tool through which its model finds tools that are not offered at once.
    search: Search | None = None
    #: By the name of a line in `lines.py`.
    limits: Mapping[str, Limit] = field(default_factory=dict)
    #: Tells records of one host with other settings apart.
    variant: str = ""

    @property
    def id(self) -> str:
        return f"{self.name}-{self.variant}" if self.variant else self.name


def _claude_code(place: Place) -> dict[str, str]:
    return {
        "ANTHROPIC_BASE_URL": place.model,
        "ANTHROPIC_API_KEY": "made-up",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_AUTOUPDATER": "1",
    }


CLAUDE_CODE = Host(
    name="claude-code",
    title="Claude Code",
    package="@anthropic-ai/claude-code",
    version="2.1.332",
    program="claude",
    listing=("mcp", "list"),
    accepts="Connected",
    prompt=lambda text: ["-p", text, "--allowedTools", "mcp__whatsapp", "--output-format", "json"],
    environment=_claude_code,
    limits={
        "voice": Limit("saves sound to a file and names it to its model, whose API takes none"),
    },
    # Tools are offered by name only, and a search also waits for servers that are still starting.
    search=Search("ToolSearch", lambda tool: {"query": f"whatsapp {tool}", "max_results": 20}),
)


def _write(path: Path, data: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=2), encoding="utf-8")


def _gemini_settings(place: Place) -> None:
    settings = {
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
        "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
        "security": {"auth": {"selectedType": "gemini-api-key"}},
    }
    _write(place.home / ".gemini" / "settings.json", settings)


GEMINI_CLI = Host(
    name="gemini-cli",
    title="Gemini CLI",
    package="@google/gemini-cli",
    version="0.61.0",
    program="gemini",
    listing=("mcp", "list"),
    accepts="Connected",
    prompt=lambda text: ["-p", text, "-m", "gemini-2.5-flash", "--yolo"],
    environment=lambda place: {
        "GEMINI_API_KEY": "made-up",
        "GOOGLE_GEMINI_BASE_URL": place.model,
        "GEMINI_CLI_TRUST_WORKSPACE": "true",
    },
    prepare=_gemini_settings,
    limits={
        "voice": Limit("strips sound from results, with a note to its model", "bundle/chunk-JDPZ4CE3.js:289381"),
    },
)


def _opencode_config(place: Place) -> None:
    model = {
        "attachment": True,
        "modalities": {"input": ["text", "image", "audio"], "output": ["text"]},
        "limit": {"context": 200_000, "output": 8_000},
    }
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": f"{place.model}/v1", "apiKey": "made-up"},
        "models": {"model": model},
    }
    config = {
        "autoupdate": False,
        "share": "disabled",
        "model": "own/model",
        "small_model": "own/model",
        "enabled_providers": ["own"],
        "provider": {"own": provider},
    }
    _write(place.home / ".config" / "opencode" / "opencode.json", config)


OPENCODE = Host(
    name="opencode",
    title="opencode",
    package="opencode-ai",
    version="1.18.33",
    program="opencode",
    listing=("mcp", "list"),
    accepts="connected",
    prompt=lambda text: ["run", "--auto", text],
    # It installs its plugin package with npm's own code into the folder of its configuration.
    environment=lambda place: {"OPENCODE_DISABLE_MODELS_FETCH": "1", "npm_config_offline": "true"},
    prepare=_opencode_config,
    limits={
        "voice": Limit("passes text, images and embedded files of results on, and drops sound", "session/tools.ts"),
    },
)


def _openclaw_config(place: Place, **more: object) -> None:
    model = {
        "id": "model",
        "name": "model",
        "reasoning": False,
        "input": ["text", "image"],
        "contextWindow": 200_000,
        "maxTokens": 8_000,
    }
    provider = {
        "baseUrl": f"{place.model}/v1",
        "apiKey": "made-up",
        "api": "openai-completions",
        "models": [model],
    }
    config = {
        "update": {"checkOnStart": False},
        "telemetry": {"enabled": False},
        "agents": {"defaults": {"model": {"primary": "own/model"}}},
        "models": {"mode": "replace", "providers": {"own": provider}},
    }
    _write(place.home / ".openclaw" / "openclaw.json", config | more)


OPENCLAW = Host(
    name="openclaw",
    title="OpenClaw",
    package="openclaw",
    version="2026.9.6",
    program="openclaw",
    listing=("mcp", "doctor", "--probe"),
    accepts="whatsapp: ok",
    prompt=lambda text: ["agent", "exec", text],
    environment=lambda place: {},
    prepare=_openclaw_config,
    search=Search(
        "tool_search",
        lambda tool: {"query": f"WhatsApp {tool.replace('_', ' ')}"},
        through=("tool_call", lambda tool, arguments: {"id": tool, "args": dict(arguments)}),
    ),
    limits={
        "at_once": Limit("names no tool of a server before its model searches for it", "docs/tools/tool-search.md:79"),
        "descriptions": Limit(
            "shows a schema only to a model that asks for it with `tool_describe`",
            "dist/local-model-lean-CHSAjCEl.mjs:391",
        ),
        "picture": Limit(
            "writes results into one text, a picture as base64; `tools.toolSearch: false` keeps it",
            "dist/local-model-lean-CHSAjCEl.mjs:1720",
        ),
        "voice": Limit("writes `[audio audio/ogg]` in place of sound", "dist/mcp-content-BHUhnILn.mjs:79"),
    },
)
OPENCLAW_DIRECT = replace(
    OPENCLAW,
    variant="direct",
    title="OpenClaw with `tools.toolSearch: false`",
    prepare=lambda place: _openclaw_config(place, tools={"toolSearch": False}),
    search=None,
    limits={"voice": OPENCLAW.limits["voice"]},
)

HOSTS: dict[str, Host] = {host.id: host for host in (CLAUDE_CODE, GEMINI_CLI, OPENCODE, OPENCLAW, OPENCLAW_DIRECT)}
