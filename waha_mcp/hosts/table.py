"""One record per host: the single home of everything known about a host's configuration."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

Format = Literal["json", "yaml", "toml"]


@dataclass(frozen=True)
class Launch:
    """How a host starts the server.

    `key_variable` is the environment variable that the App takes its key from; the host must provide it.
    """

    command: str
    args: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    key_variable: str | None = None


@dataclass(frozen=True)
class Remote:
    """How a host connects to a server over HTTP.

    `headers` are those besides the key's. `key_variable` is the environment variable that the host takes the key from;
    `key` is the key itself, which is then in the host's file. Without either, the host logs in by itself (OAuth).
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    key_variable: str | None = None
    key: str | None = field(default=None, repr=False)

    def sent(self, reference: str | None) -> dict[str, str]:
        """All headers; `reference`: how the host refers to an environment variable in a header.

        The key is sent as `Authorization`, which clients drop when a server redirects them to another origin.
        """
        key = reference.format(self.key_variable) if reference and self.key_variable else self.key
        return dict(self.headers) | ({"Authorization": f"Bearer {key}"} if key else {})


#: In each of our remote entries, to recognise it by: a URL may be anybody's.
OURS = {"X-Installed-By": "waha-mcp"}


@dataclass(frozen=True)
class Offer:
    """Optional host settings for our entry that a user may want.

    `fields`: the fields it adds to the entry; None removes a field. `says`: one line on its benefit and cost.
    `default`: added unless the user says otherwise, since it costs nothing.
    """

    name: str
    fields: Mapping[str, Any]
    says: str
    default: bool = False

    def undone(self) -> Offer:
        """The offer that undoes this one."""
        return replace(self, fields=dict.fromkeys(self.fields), default=False)


@dataclass(frozen=True)
class Host:
    """A program that launches MCP servers.

    `files` maps `sys.platform` to the configuration file, with `*` for all others; `{config}` is the folder of
    application settings, `{xdg}` is `~/.config`. `moved` maps the host's own environment variables that move the file
    to its new path, with `{value}` filled in; the first that is set counts. `rather` maps the same variables, and `""`
    for none of them, to a file that the host uses instead if it has content or is the only one. `place` is the path of
    keys down to the object that holds the entries. `shape` makes an entry from its name, the launch and
    `key_reference`, which is how a value of `env` refers to a variable of the host's own environment; None if the host
    has no such references. `remote` and `header_reference` are the same for a server over HTTP, whose key is in a
    header; `logs_in` says how a user logs in to one without a key (OAuth), None if the host cannot. `folder` is the
    host's own folder, if that is not the configuration file's. `once` are fields that are set when the entry is
    created, and are the user's to change afterwards.
    """

    name: str
    title: str
    format: Format
    place: tuple[str, ...]
    files: Mapping[str, str]
    shape: Callable[[str, Launch, str | None], dict[str, Any]]
    remote: Callable[[str, Remote, str | None], dict[str, Any]]
    key_reference: str | None = None
    header_reference: str | None = None
    logs_in: str | None = None
    moved: Mapping[str, str] = field(default_factory=dict)
    rather: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None
    once: frozenset[str] = frozenset()
    offers: tuple[Offer, ...] = ()
    after: str = "It takes effect after a restart."

    def entry(self, name: str, target: Launch | Remote) -> dict[str, Any]:
        """The entry of this name, without offers."""
        if isinstance(target, Remote):
            return self.remote(name, target, self.header_reference)
        return self.shape(name, target, self.key_reference)

    def file(self, platform: str = sys.platform, environ: Mapping[str, str] = os.environ) -> Path:
        """The user's configuration file of this host."""
        variable = next((name for name in self.moved if environ.get(name)), "")
        value = environ.get(variable, "")
        usual = self.moved.get(variable) or self.files.get(platform) or self.files["*"]
        path = _path(usual, platform, environ, value)
        if variable in self.rather:
            rather = _path(self.rather[variable], platform, environ, value)
            if rather.is_file() and (rather.stat().st_size or not path.exists()):
                return rather
        return path

    def found(self, platform: str = sys.platform, environ: Mapping[str, str] = os.environ) -> bool:
        """Whether this host is on this machine: it has its configuration file, or its own folder."""
        file = self.file(platform, environ)
        folder = _path(self.folder, platform, environ) if self.folder else file.parent
        return file.is_file() or folder.is_dir()


def _path(template: str, platform: str, environ: Mapping[str, str], value: str = "") -> Path:
    """A path of `Host.files` and the like, with its placeholders filled in."""
    home = Path(environ.get("USERPROFILE" if platform == "win32" else "HOME") or Path.home())
    xdg = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    config = {
        "win32": Path(environ.get("APPDATA") or home / "AppData" / "Roaming"),
        "darwin": home / "Library" / "Application Support",
    }.get(platform, xdg)
    return Path(template.format(home=home, xdg=xdg, config=config, value=value))


def _plain(name: str, launch: Launch, reference: str | None) -> dict[str, Any]:
    env = dict(launch.env)
    if launch.key_variable and reference:
        env[launch.key_variable] = reference.format(launch.key_variable)
    return {"command": launch.command, "args": list(launch.args)} | ({"env": env} if env else {})


def _typed(name: str, launch: Launch, reference: str | None) -> dict[str, Any]:
    return {"type": "stdio"} | _plain(name, launch, reference)


def _copilot(name: str, launch: Launch, reference: str | None) -> dict[str, Any]:
    """Copilot CLI offers only those of a server's tools that `tools` names."""
    return {"type": "local"} | _plain(name, launch, reference) | {"tools": ["*"]}


def _goose(name: str, launch: Launch, reference: str | None) -> dict[str, Any]:
    """Goose knows extensions by their `name`, takes `env_keys` from its keyring and asks for missing ones."""
    return {
        "type": "stdio",
        "name": name,
        "description": "WhatsApp through WAHA",
        "enabled": True,
        "cmd": launch.command,
        "args": list(launch.args),
        "envs": dict(launch.env),
        "env_keys": [launch.key_variable] if launch.key_variable else [],
        "timeout": 300,
    }


def _codex(name: str, launch: Launch, reference: str | None) -> dict[str, Any]:
    """Codex passes on only the variables that `env_vars` names."""
    entry: dict[str, Any] = {"command": launch.command, "args": list(launch.args)}
    entry |= {"env": dict(launch.env)} if launch.env else {}
    return entry | ({"env_vars": [launch.key_variable]} if launch.key_variable else {})


def _opencode(name: str, launch: Launch, reference: str | None) -> dict[str, Any]:
    """opencode keeps the command and its arguments in one list, and has its own name for the environment."""
    entry = _plain(name, launch, reference)
    env = {"environment": entry["env"]} if "env" in entry else {}
    return {"type": "local", "command": [launch.command, *launch.args]} | env


def _web(place: str = "url", **fields: Any) -> Callable[[str, Remote, str | None], dict[str, Any]]:
    """The shape of most hosts for a server over HTTP: the URL under this name, and the headers."""

    def shape(name: str, remote: Remote, reference: str | None) -> dict[str, Any]:
        return fields | {place: remote.url, "headers": remote.sent(reference)}

    return shape


def _copilot_web(name: str, remote: Remote, reference: str | None) -> dict[str, Any]:
    return _web(type="http")(name, remote, reference) | {"tools": ["*"]}


def _goose_web(name: str, remote: Remote, reference: str | None) -> dict[str, Any]:
    """Goose replaces the names of `env_keys` in headers by their values, as for a command."""
    return {
        "type": "streamable_http",
        "name": name,
        "description": "WhatsApp through WAHA",
        "enabled": True,
        "uri": remote.url,
        "headers": remote.sent(reference),
        "env_keys": [remote.key_variable] if remote.key_variable else [],
        "timeout": 300,
    }


def _codex_web(name: str, remote: Remote, reference: str | None) -> dict[str, Any]:
    """Codex fills no variables into `http_headers`; it has its own setting for the key's variable."""
    variable = {"bearer_token_env_var": remote.key_variable} if remote.key_variable else {}
    return {"url": remote.url} | variable | {"http_headers": remote.sent(None)}


def _openclaw_web(name: str, remote: Remote, reference: str | None) -> dict[str, Any]:
    """OpenClaw logs in only if told to."""
    login = {} if remote.key or remote.key_variable else {"auth": "oauth"}
    return _web(transport="streamable-http")(name, remote, reference) | login


def _opencode_web(name: str, remote: Remote, reference: str | None) -> dict[str, Any]:
    """opencode offers a login when a key is refused, unless told not to."""
    login = {"oauth": False} if remote.key or remote.key_variable else {}
    return _web(type="remote")(name, remote, reference) | login


#: The command that connects hosts that only start commands to a server over HTTP.
_BRIDGE = "mcp-remote@0.15.1"


def _bridged(name: str, remote: Remote, reference: str | None) -> dict[str, Any]:
    """Claude Desktop's file supports commands only. On Windows it mangles arguments with blanks."""
    args = ["-y", _BRIDGE, remote.url, "--transport", "http-only", "--protocol", "auto"]
    env: dict[str, str] = {}
    if remote.url.startswith("http:"):
        args.append("--allow-http")
    for header, value in remote.sent(reference).items():
        if header == "Authorization":
            # Arguments can be read by every user of the machine.
            env, value = {"WAHA_MCP_AUTHORIZATION": value}, "${WAHA_MCP_AUTHORIZATION}"
        args += ["--header", f"{header}:{value}"]
    return {"command": "npx", "args": args} | ({"env": env} if env else {})


_SERVERS = ("mcpServers",)

#: Gemini CLI and its fork Qwen Code.
_TRUST = Offer(
    "trust",
    {"trust": True},
    "in folders that you trust it makes every call without asking you; the App's own limits and questions stay",
)

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
            _bridged,
            logs_in="A browser opens for the log-in when it starts.",
            after="Quit Claude Desktop and start it again: it reads its configuration only then.",
        ),
        Host(
            "claude-code",
            "Claude Code",
            "json",
            _SERVERS,
            {"*": "{home}/.claude.json"},
            _typed,
            _web(type="http"),
            key_reference="${{{}}}",
            header_reference="${{{}}}",
            logs_in="Log in with /mcp.",
            moved={"CLAUDE_CONFIG_DIR": "{value}/.claude.json"},
            rather={"": "{home}/.claude/.config.json", "CLAUDE_CONFIG_DIR": "{value}/.config.json"},
            folder="{home}/.claude",
            offers=(
                Offer(
                    "alwaysLoad",
                    {"alwaysLoad": True},
                    "its model has the tools from the first turn, also with `claude -p`; they take up context in every "
                    "session, and its start waits for the server",
                ),
            ),
            after="Start a new session; /mcp shows the server.",
        ),
        Host(
            "goose",
            "Goose",
            "yaml",
            ("extensions",),
            {"*": "{xdg}/goose/config.yaml", "win32": "{config}/Block/goose/config/config.yaml"},
            _goose,
            _goose_web,
            key_reference="env_keys",
            header_reference="${{{}}}",
            logs_in="A browser opens for the log-in when a session starts.",
            once=frozenset({"timeout"}),
            after="Start a new session.",
        ),
        Host(
            "cursor",
            "Cursor",
            "json",
            _SERVERS,
            {"*": "{home}/.cursor/mcp.json"},
            _plain,
            _web(),
            key_reference="${{env:{}}}",
            header_reference="${{env:{}}}",
            logs_in="Log in where its settings list the server.",
        ),
        Host(
            "vscode",
            "VS Code",
            "json",
            ("servers",),
            {"*": "{config}/Code/User/mcp.json"},
            _typed,
            _web(type="http"),
            key_reference="${{env:{}}}",
            header_reference="${{env:{}}}",
            logs_in="It asks for the log-in when the server starts.",
            after="Run 'MCP: List Servers' in the command palette and start it.",
        ),
        Host(
            "windsurf",
            "Windsurf",
            "json",
            _SERVERS,
            {"*": "{home}/.codeium/windsurf/mcp_config.json"},
            _plain,
            _web("serverUrl"),
            key_reference="${{env:{}}}",
            header_reference="${{env:{}}}",
            logs_in="Cascade asks for the log-in.",
            after="Press Refresh in Cascade's list of MCP servers.",
        ),
        Host(
            "zed",
            "Zed",
            "json",
            ("context_servers",),
            {"*": "{xdg}/zed/settings.json", "win32": "{config}/Zed/settings.json"},
            _plain,
            _web(),
            logs_in="Log in where the agent panel's settings list the server.",
            after="Zed loads it at once; the agent panel's settings show it.",
        ),
        Host(
            "openclaw",
            "OpenClaw",
            "json",
            ("mcp", "servers"),
            {"*": "{home}/.openclaw/openclaw.json"},
            _plain,
            _openclaw_web,
            key_reference="${{{}}}",
            header_reference="${{{}}}",
            logs_in="Log in with `openclaw mcp login` and the entry's name.",
            moved={
                "OPENCLAW_CONFIG_PATH": "{value}",
                "OPENCLAW_STATE_DIR": "{value}/openclaw.json",
                "OPENCLAW_HOME": "{value}/.openclaw/openclaw.json",
            },
            folder="{home}/.openclaw",
            after="A running gateway takes it up by itself; `openclaw mcp doctor --probe` tries it.",
        ),
        Host(
            "gemini-cli",
            "Gemini CLI",
            "json",
            _SERVERS,
            {"*": "{home}/.gemini/settings.json"},
            _plain,
            _web("httpUrl"),
            key_reference="${}",
            header_reference="${}",
            logs_in="Log in with /mcp auth and the entry's name.",
            moved={"GEMINI_CLI_HOME": "{value}/.gemini/settings.json"},
            offers=(_TRUST,),
            after="Start a new session, in a folder that you trust (it starts no servers elsewhere); /mcp shows it.",
        ),
        Host(
            "qwen-code",
            "Qwen Code",
            "json",
            _SERVERS,
            {"*": "{home}/.qwen/settings.json"},
            _plain,
            _web("httpUrl"),
            key_reference="${}",
            header_reference="${}",
            logs_in="Log in with /mcp auth and the entry's name.",
            moved={"QWEN_HOME": "{value}/settings.json"},
            offers=(
                _TRUST,
                Offer(
                    "alwaysLoadTools",
                    {"alwaysLoadTools": True},
                    "its model has the tools without searching for them; they take up context in every session",
                ),
            ),
            after="Start a new session; /mcp shows it.",
        ),
        Host(
            "copilot-cli",
            "GitHub Copilot CLI",
            "json",
            _SERVERS,
            {"*": "{home}/.copilot/mcp-config.json"},
            _copilot,
            _copilot_web,
            key_reference="${{{}}}",
            header_reference="${{{}}}",
            logs_in="A browser opens for the log-in when a session starts.",
            moved={"COPILOT_HOME": "{value}/mcp-config.json"},
            once=frozenset({"tools"}),
            offers=(
                Offer(
                    "deferTools",
                    {"deferTools": "never"},
                    "its model has the tools without searching for them, however many it has; they take up context in "
                    "every session",
                ),
            ),
            after="Start a new session; /mcp shows it. `copilot -p` needs --allow-tool with the entry's name.",
        ),
        Host(
            "lm-studio",
            "LM Studio",
            "json",
            _SERVERS,
            {"*": "{home}/.lmstudio/mcp.json"},
            _plain,
            _web(),
            after="Start LM Studio again; its Program tab shows the server.",
        ),
        Host(
            "opencode",
            "opencode",
            "json",
            ("mcp",),
            {"*": "{xdg}/opencode/opencode.json"},
            _opencode,
            _opencode_web,
            key_reference="{{env:{}}}",
            header_reference="{{env:{}}}",
            logs_in="Log in with `opencode mcp auth` and the entry's name.",
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
            _codex_web,
            key_reference="env_vars",
            header_reference="bearer_token_env_var",
            logs_in="Log in with `codex mcp login` and the entry's name.",
            moved={"CODEX_HOME": "{value}/config.toml"},
            offers=(
                Offer(
                    "startup_timeout_sec",
                    {"startup_timeout_sec": 60},
                    "it gives the server up to 60 s to start on a busy machine",
                    default=True,
                ),
                Offer(
                    "required",
                    {"required": True},
                    "it waits for the tools, which `codex exec` otherwise starts without; it does not start at all "
                    "where waha-mcp does not",
                ),
                Offer(
                    "default_tools_approval_mode",
                    {"default_tools_approval_mode": "approve"},
                    "it makes every call without asking you, without which `codex exec` sends nothing; the App's own "
                    "limits and questions stay",
                ),
            ),
            after="Start a new session; /mcp shows the server.",
        ),
    )
}
