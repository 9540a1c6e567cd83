"""One record per host. What is known about a host's configuration stands here and nowhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Format = Literal["json", "yaml", "toml"]


@dataclass(frozen=True)
class Launch:
    """How a host starts the server.

    `key_variable` is the environment variable that the App takes its key from; the host has to provide it.
    """

    command: str
    args: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    key_variable: str | None = None


@dataclass(frozen=True)
class Host:
    """A program that launches MCP servers.

    `files` maps `sys.platform` to the configuration file, with `*` for all others; `{config}` is the folder of
    application settings, `{xdg}` is `~/.config`. `moved` maps variables of the host's own that move the file to where
    it then is, as `{value}` has it; the first that is set counts. `rather` maps the same variables, and `""` for none
    of them, to a file that the host takes instead where it exists. `place` is the path of keys down to the object that
    holds the entries. `key_reference` is how a value of `env` refers to a variable of the host's own environment; None
    where the host knows no such thing.
    """

    name: str
    title: str
    format: Format
    place: tuple[str, ...]
    files: Mapping[str, str]
    entry: Callable[[Launch, str | None], dict[str, Any]]
    key_reference: str | None = None
    moved: Mapping[str, str] = field(default_factory=dict)
    rather: Mapping[str, str] = field(default_factory=dict)
    after: str = "It takes effect after a restart."

    def found(self) -> bool:  # STUB
        return self.file().exists() or (self.file().parent.is_dir() and self.name not in ("claude-code",))

    def file(self, platform: str = sys.platform, environ: Mapping[str, str] = os.environ) -> Path:
        """The user's configuration file of this host."""
        home = Path(environ.get("USERPROFILE" if platform == "win32" else "HOME") or Path.home())
        xdg = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
        config = {
            "win32": Path(environ.get("APPDATA") or home / "AppData" / "Roaming"),
            "darwin": home / "Library" / "Application Support",
        }.get(platform, xdg)
        variable = next((name for name in self.moved if environ.get(name)), "")
        usual = self.moved.get(variable) or self.files.get(platform) or self.files["*"]
        found = [
            Path(each.format(home=home, xdg=xdg, config=config, value=environ.get(variable, "")))
            for each in (self.rather.get(variable), usual)
            if each
        ]
        return next((path for path in found if path.exists()), found[-1])


def _plain(launch: Launch, reference: str | None) -> dict[str, Any]:
    env = dict(launch.env)
    if launch.key_variable and reference:
        env[launch.key_variable] = reference.format(launch.key_variable)
    return {"command": launch.command, "args": list(launch.args)} | ({"env": env} if env else {})


def _typed(launch: Launch, reference: str | None) -> dict[str, Any]:
    return {"type": "stdio"} | _plain(launch, reference)


def _goose(launch: Launch, reference: str | None) -> dict[str, Any]:
    """Goose takes `env_keys` from its keyring and asks for what is not there yet."""
    return {
        "type": "stdio",
        "name": "whatsapp",
        "description": "WhatsApp through WAHA",
        "enabled": True,
        "cmd": launch.command,
        "args": list(launch.args),
        "envs": dict(launch.env),
        "env_keys": [launch.key_variable] if launch.key_variable else [],
        "timeout": 300,
    }


def _codex(launch: Launch, reference: str | None) -> dict[str, Any]:
    """Codex passes on only the variables that `env_vars` names."""
    entry: dict[str, Any] = {"command": launch.command, "args": list(launch.args)}
    entry |= {"env": dict(launch.env)} if launch.env else {}
    return entry | ({"env_vars": [launch.key_variable]} if launch.key_variable else {})


def _opencode(launch: Launch, reference: str | None) -> dict[str, Any]:
    """opencode has the command and its arguments in one list, and its own name for the environment."""
    entry = _plain(launch, reference)
    env = {"environment": entry["env"]} if "env" in entry else {}
    return {"type": "local", "command": [launch.command, *launch.args]} | env


_SERVERS = ("mcpServers",)

HOSTS: dict[str, Host] = {
    host.name: host
    for host in (
        Host(
            "claude-desktop",
            "Claude Desktop",
            "json",
            _SERVERS,
            {"*": "{config}/Claude/claude_desktop_config.json"},
            _plain,
            after="Quit Claude Desktop and start it again: it reads its configuration only then.",
        ),
        Host(
            "claude-code",
            "Claude Code",
            "json",
            _SERVERS,
            {"*": "{home}/.claude.json"},
            _typed,
            key_reference="${{{}}}",
            moved={"CLAUDE_CONFIG_DIR": "{value}/.claude.json"},
            rather={"": "{home}/.claude/.config.json", "CLAUDE_CONFIG_DIR": "{value}/.config.json"},
            after="Start a new session; /mcp shows the server.",
        ),
        Host(
            "goose",
            "Goose",
            "yaml",
            ("extensions",),
            {"*": "{xdg}/goose/config.yaml", "win32": "{config}/Block/goose/config/config.yaml"},
            _goose,
            key_reference="env_keys",
            after="Start a new session.",
        ),
        Host("cursor", "Cursor", "json", _SERVERS, {"*": "{home}/.cursor/mcp.json"}, _plain, "${{env:{}}}"),
        Host(
            "vscode",
            "VS Code",
            "json",
            ("servers",),
            {"*": "{config}/Code/User/mcp.json"},
            _typed,
            key_reference="${{env:{}}}",
            after="Run 'MCP: List Servers' in the command palette and start it.",
        ),
        Host(
            "windsurf",
            "Windsurf",
            "json",
            _SERVERS,
            {"*": "{home}/.codeium/windsurf/mcp_config.json"},
            _plain,
            key_reference="${{env:{}}}",
            after="Press Refresh in Cascade's list of MCP servers.",
        ),
        Host(
            "zed",
            "Zed",
            "json",
            ("context_servers",),
            {"*": "{xdg}/zed/settings.json", "win32": "{config}/Zed/settings.json"},
            _plain,
            after="Zed loads it at once; the agent panel's settings show it.",
        ),
        Host(
            "openclaw",
            "OpenClaw",
            "json",
            ("mcp", "servers"),
            {"*": "{home}/.openclaw/openclaw.json"},
            _plain,
            key_reference="${{{}}}",
            moved={
                "OPENCLAW_CONFIG_PATH": "{value}",
                "OPENCLAW_STATE_DIR": "{value}/openclaw.json",
                "OPENCLAW_HOME": "{value}/.openclaw/openclaw.json",
            },
            after="A running gateway takes it up by itself; `openclaw mcp doctor --probe` tries it.",
        ),
        Host(
            "gemini-cli",
            "Gemini CLI",
            "json",
            _SERVERS,
            {"*": "{home}/.gemini/settings.json"},
            _plain,
            key_reference="${}",
            moved={"GEMINI_CLI_HOME": "{value}/.gemini/settings.json"},
            after="Start a new session, in a folder that you trust (it starts no servers elsewhere); /mcp shows it.",
        ),
        Host(
            "opencode",
            "opencode",
            "json",
            ("mcp",),
            {"*": "{xdg}/opencode/opencode.json"},
            _opencode,
            key_reference="{{env:{}}}",
            rather={"": "{xdg}/opencode/opencode.jsonc"},
            after="Start a new session; `opencode mcp list` tries it.",
        ),
        Host(
            "codex",
            "Codex",
            "toml",
            ("mcp_servers",),
            {"*": "{home}/.codex/config.toml"},
            _codex,
            key_reference="env_vars",
            moved={"CODEX_HOME": "{value}/config.toml"},
            after="Start a new session; /mcp shows the server.",
        ),
    )
}
