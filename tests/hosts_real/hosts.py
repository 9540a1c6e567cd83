"""One record per real host: how it is installed, configured with its model, kept from calling home, and run.

To add a host, write a record and put it into HOSTS. Its `name` (or `install`) is that of `waha_mcp.hosts.table`, so
that `waha-mcp install NAME` writes its entry. `prepare` writes its configuration before that, into the home of the
test's own; `environment` gives variables on top of HOME, PATH and the proxy that blocks all outgoing traffic. Both get
a `Place`, whose `model` is the base URL of the scripted service (`model.py`; it speaks the wires of `wires.py` under
any path). `offers` are those of `waha-mcp install --with`. `listing` are the arguments of its listing or health
command, `prompt` those that run one prompt without a person. Log-ins and telemetry, update checks and error reports are
switched off by the host's own settings; what it still wants from elsewhere fails a test. What the host itself cannot do
goes into `limits`: the check of that line must then fail, and the page shows the limit. `python -m tests.hosts_real
--show HOST --bodies FILE` shows what its model sees.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.hosts_real.model import Call, Search, Through
from tests.hosts_real.wires import Shown

#: Tools whose full descriptions a model must get.
NEEDED = ("list_chats", "get_messages", "get_media", "send_text")


@dataclass(frozen=True)
class Place:
    """Where a host runs: a separate home folder, and its model's base URL."""

    home: Path
    model: str


@dataclass(frozen=True)
class Limit:
    """What a host itself does not do, and where that can be read: a file of its package or of its sources."""

    what: str
    where: str = ""

    def __str__(self) -> str:
        return self.what + (f" ({self.where})" if self.where else "")


@dataclass(frozen=True)
class Host:
    """`name`: of the record. `install`: what `waha-mcp install` calls the host, where that is another."""

    name: str
    title: str
    package: str
    version: str
    program: str
    #: The arguments of its listing or health command, and what that prints about a server that it accepts.
    listing: tuple[str, ...]
    accepts: str
    prompt: Callable[[str], list[str]]
    environment: Callable[[Place], dict[str, str]]
    prepare: Callable[[Place], None] = lambda place: None
    install: str = ""
    #: What `waha-mcp install --with` sets, so that it works without a person at it. `unattended` says it.
    offers: tuple[str, ...] = ()
    unattended: str = ""
    #: The host's own tool with which its model finds tools that are not offered from the start.
    search: Search | None = None
    #: The host's own tool with which its model calls others, if it does not offer them as tools.
    through: Through | None = None
    #: What a request contains that announces our tools without offering them.
    named: str = ""
    #: By the name of a line in `lines.py`.
    limits: Mapping[str, Limit] = field(default_factory=dict)


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
        "sound": Limit("saves the sound to a file and names the file, as its model's API takes no sound"),
    },
    # Tools are offered by name only, and a search also waits for servers that are still starting.
    search=Search("ToolSearch", lambda tool: {"query": f"whatsapp {tool}", "max_results": 20}),
    named="mcp__whatsapp__list_chats",
)

CLAUDE_CODE_LOADED = replace(
    CLAUDE_CODE,
    name="claude-code-loaded",
    install="claude-code",
    title="Claude Code `--with alwaysLoad`",
    offers=("alwaysLoad",),
    search=None,
)


def _codex(place: Place, model: str = "") -> None:
    file = place.home / ".codex" / "config.toml"
    file.parent.mkdir()
    chosen = f'model = "{model}"\n' if model else ""
    file.write_text(f"""\
{chosen}model_provider = "scripted"
check_for_update_on_startup = false

[model_providers.scripted]
name = "Scripted"
base_url = "{place.model}/v1"
env_key = "SCRIPTED_KEY"
wire_api = "responses"

[analytics]
enabled = false

[feedback]
enabled = false

[features]
apps = false
plugins = false
""")


def _script(tool: str, arguments: Mapping[str, Any]) -> dict[str, str]:
    """JavaScript that shows the model every block of a result, as the description of `exec` says."""
    return {
        "input": f"""\
const result = await tools.mcp__whatsapp__{tool}({json.dumps(arguments)});
for (const block of result.content) {{
  if (block.type === "image") image(block);
  else if (block.type === "audio") audio(block);
  else text(block.text);
}}
"""
    }


def _goes_on(shown: Shown) -> Call | None:
    """A script that takes more than 30 s continues, and `wait` waits for it, as the descriptions of both say."""
    running = re.match(r"Script running with cell ID (\w+)", shown.text)
    return Call("wait", {"cell_id": running[1], "yield_time_ms": 30_000}) if running else None


_LISTING = "for (const tool of ALL_TOOLS) if (/whatsapp/.test(tool.name)) text(tool.name + '\\n' + tool.description);"

CODEX = Host(
    name="codex",
    title="Codex",
    package="@openai/codex",
    version="0.171.0",
    program="codex",
    listing=("mcp", "list"),
    accepts="enabled",
    prompt=lambda text: ["exec", "--skip-git-repo-check", text],
    environment=lambda place: {"SCRIPTED_KEY": "made-up"},
    prepare=_codex,
    offers=("required", "default_tools_approval_mode"),
    through=Through("exec", _script, (Call("exec", {"input": _LISTING}),), _goes_on),
    named="- mcp__whatsapp:",
    limits={
        "sound": Limit("leaves sound out for models that take none", "`core/src/mcp_tool_call.rs`"),
        "approval": Limit(
            "without a person (`codex exec`) it declines every question by itself; its model is "
            'told so, and that `ask_at = "console"` asks elsewhere',
            "`codex-mcp/src/elicitation.rs`, `elicitation_is_rejected_by_policy`",
        ),
    },
    unattended=(
        "`--with required --with default_tools_approval_mode`: `codex exec` waits about a second for other servers, "
        "and makes no call that sends. With the first, Codex does not start where waha-mcp does not."
    ),
)

#: Models before gpt-6 get tools instead of a script tool.
CODEX_FUNCTIONS = replace(
    CODEX,
    name="codex-functions",
    install="codex",
    title="Codex (model gpt-5.5)",
    prepare=lambda place: _codex(place, "gpt-5.5"),
    through=None,
    # A search at the client, which is a tool of the protocol.
    search=Search("tool_search", lambda tool: {"query": f"whatsapp {tool}", "limit": 20}),
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
    prompt=lambda text: ["-p", text, "-m", "gemini-2.5-flash"],
    offers=("trust",),
    environment=lambda place: {
        "GEMINI_API_KEY": "made-up",
        "GOOGLE_GEMINI_BASE_URL": place.model,
        "GEMINI_CLI_TRUST_WORKSPACE": "true",
    },
    prepare=_gemini_settings,
    limits={
        "sound": Limit("takes sound out of results, and tells its model so", "`bundle/chunk-JDPZ4CE3.js:289369`"),
    },
    unattended=(
        "a folder that it trusts (`GEMINI_CLI_TRUST_WORKSPACE=true`), as it starts no server in others, and `--with "
        "trust` or `--allowed-mcp-server-names whatsapp`, without which `-p` offers its model no tool of a server."
    ),
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
    prompt=lambda text: ["run", text],
    # It installs its plugin package with npm's own code into its configuration folder.
    environment=lambda place: {"OPENCODE_DISABLE_MODELS_FETCH": "1", "npm_config_offline": "true"},
    prepare=_opencode_config,
    limits={
        "sound": Limit(
            "passes on text, pictures and embedded files of results, and drops sound",
            "`packages/opencode/src/session/tools.ts`, the loop over `result.content`",
        ),
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
    # It offers no tool of a server: its model searches, asks for schemas and calls by name.
    through=Through(
        "tool_call",
        lambda tool, arguments: {"id": f"whatsapp__{tool}", "args": dict(arguments)},
        (
            Call("tool_search", {"query": "WhatsApp chats and messages", "limit": 20}),
            *(Call("tool_describe", {"id": f"whatsapp__{tool}"}) for tool in NEEDED),
        ),
    ),
    limits={
        "instructed": Limit("keeps a server's instructions from its model", "no file under `dist/` asks for them"),
        "picture": Limit(
            "writes a result into one text, a picture as base64 and cut off; `tools.toolSearch: false` keeps pictures",
            "`dist/local-model-lean-CHSAjCEl.mjs:1720`",
        ),
        "sound": Limit("writes `[audio audio/ogg]` in place of sound", "`dist/mcp-content-BHUhnILn.mjs:83`"),
    },
)
OPENCLAW_DIRECT = replace(
    OPENCLAW,
    name="openclaw-direct",
    install="openclaw",
    title="OpenClaw with `tools.toolSearch: false`",
    prepare=lambda place: _openclaw_config(place, tools={"toolSearch": False}),
    through=None,
    limits={name: OPENCLAW.limits[name] for name in ("instructed", "sound")},
)


def _qwen_settings(place: Place) -> None:
    settings = {
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
        "general": {"enableAutoUpdate": False},
        "security": {"auth": {"selectedType": "openai"}},
        # Otherwise a second agent looks for things to remember after each session.
        "memory": {"enableManagedAutoMemory": False},
    }
    _write(place.home / ".qwen" / "settings.json", settings)


QWEN_CODE = Host(
    name="qwen-code",
    title="Qwen Code",
    package="@qwen-code/qwen-code",
    version="0.24.4",
    program="qwen",
    listing=("mcp", "list"),
    accepts="Connected",
    prompt=lambda text: ["-p", text, "--approval-mode", "yolo"],
    environment=lambda place: {
        "OPENAI_API_KEY": "made-up",
        "OPENAI_BASE_URL": f"{place.model}/v1",
        "OPENAI_MODEL": "gpt-4o",
    },
    prepare=_qwen_settings,
    # Its model searches, gets schemas and calls by name.
    through=Through(
        "tool_call",
        lambda tool, arguments: {"name": f"mcp__whatsapp__{tool}", "arguments": dict(arguments)},
        (Call("tool_search", {"query": f"select:{','.join(f'mcp__whatsapp__{tool}' for tool in NEEDED)}"}),),
    ),
    limits={
        "sound": Limit("writes `[document: audio/ogg]` in place of sound"),
    },
    unattended=(
        "`--with trust`, or `--approval-mode yolo`, which allows all its other tools, too; otherwise it makes no call "
        "without a person."
    ),
)
QWEN_CODE_LOADED = replace(
    QWEN_CODE,
    name="qwen-code-loaded",
    install="qwen-code",
    title="Qwen Code `--with alwaysLoadTools --with trust`",
    prompt=lambda text: ["-p", text],
    offers=("alwaysLoadTools", "trust"),
    through=None,
)

COPILOT_CLI = Host(
    name="copilot-cli",
    title="Copilot CLI",
    package="@github/copilot",
    version="1.0.102",
    program="copilot",
    listing=("mcp", "list"),
    accepts="whatsapp (local)",
    prompt=lambda text: ["-p", text, "--allow-tool", "whatsapp"],
    environment=lambda place: {
        "COPILOT_OFFLINE": "true",
        "COPILOT_AUTO_UPDATE": "false",
        "COPILOT_PROVIDER_BASE_URL": f"{place.model}/v1",
        "COPILOT_PROVIDER_API_KEY": "made-up",
        "COPILOT_MODEL": "model",
    },
    limits={
        "instructed": Limit(
            "keeps a server's instructions from its model; `--allow-all-mcp-server-instructions` passes them on",
            "`copilot --help`",
        ),
        "picture": Limit("shows a picture to the person at it and not to a model of another provider, as here"),
        "sound": Limit("leaves sound out for a model of another provider, as here"),
        "approval": Limit(
            "without a person (`copilot -p`) it declines every question by itself; its model is told so, and that "
            '`ask_at = "console"` asks elsewhere'
        ),
    },
    unattended="`--allow-tool` with the entry's name, such as `--allow-tool whatsapp`.",
)

HOSTS: dict[str, Host] = {
    host.name: host
    for host in (
        CLAUDE_CODE,
        CLAUDE_CODE_LOADED,
        CODEX,
        CODEX_FUNCTIONS,
        GEMINI_CLI,
        QWEN_CODE,
        QWEN_CODE_LOADED,
        COPILOT_CLI,
        OPENCODE,
        OPENCLAW,
        OPENCLAW_DIRECT,
    )
}
