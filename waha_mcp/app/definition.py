"""The App definition: one WhatsApp session, one scoped key, and what the agent may do; its model and its loading.

Sources: a TOML file, WAHA's JSON of its own MCP Apps, or the environment alone. Flags take precedence over the
environment, and the environment over the file.
"""

from __future__ import annotations

import json
import logging
import os
import re
import ssl
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, SecretStr, ValidationError, model_validator

from waha_mcp.app import keys
from waha_mcp.app.actions import Action, actions_from_waha, parse_action
from waha_mcp.app.inputs import observed
from waha_mcp.app.policy_fields import Hosts, Names, PolicyFields
from waha_mcp.app.transcriber import Transcriber
from waha_mcp.app.urls import is_local, parse, parse_base
from waha_mcp.digests import digest, key_digest
from waha_mcp.files import read_by_others
from waha_mcp.places import config_dir, definitions
from waha_mcp.steps import did_you_mean

logger = logging.getLogger(__name__)

DEFAULT_URL = "http://localhost:3000"
#: The id of an App without a file.
DEFAULT_ID = "default"
#: Characters that are not allowed in an id.
_NO_ID = re.compile(r"[^A-Za-z0-9_.-]+")
#: WAHA gives no session a name with other characters.
SESSION_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class AppError(Exception):
    """An App definition that cannot be used. The text is one line: what is wrong and how to fix it."""


class NoKey(AppError):
    """Neither file, environment nor flags provide a key."""


class Disabled(AppError):
    """The definition disables the App."""


class NotFilledIn(AppError):
    """A value is still its placeholder: the program that starts waha-mcp did not fill it in."""


#: Placeholders of hosts and shells: ${NAME}, ${env:NAME}, ${input:name}, {{name}}, %NAME%, $NAME, $env:NAME, <name>.
_PLACEHOLDER = re.compile(
    r"\$?\$\{[^{}]*\}|\$?\{\{[^{}]*\}\}|%[A-Za-z_]\w{2,}%|\$[A-Z][A-Z0-9_]{2,}|\$\([A-Z]\w*\)|\$env:\w+|<[\w -]+>"
)


def _check_certificates(value: Path) -> Path:
    try:
        ssl.create_default_context(cafile=value)
    except ssl.SSLError:
        raise ValueError(f"{value} holds no certificates in PEM form") from None
    except OSError as error:
        raise ValueError(f"{value} cannot be read ({error.strerror or error})") from None
    return value


def _check_key(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text:
        raise ValueError("is empty")
    if text.startswith("sha512:"):
        raise ValueError("is the hash of a key, as WAHA's environment may have it; give the key itself")
    if not all("!" <= c <= "~" for c in text):
        raise ValueError("contains a space or a character that no WAHA key has")
    return value


def _read_actions(value: object) -> object:
    """Parse a list of names, or WAHA's object of flags (its null is expanded before this)."""
    if value is None or isinstance(value, frozenset):
        return value
    return actions_from_waha(value) if isinstance(value, Mapping) else frozenset(map(parse_action, _names(value)))


def _read_names(value: object) -> object:
    return value if isinstance(value, frozenset) else frozenset(_names(value))


def _names(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError('must be a list of names, such as ["read", "send"] or ["core"]')
    return value


#: A set of names, given as a list.
_Names = Annotated[frozenset[str], BeforeValidator(_read_names)]


def _check_timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (OSError, ValueError, KeyError):
        raise ValueError("must be the IANA name of a time zone, such as Europe/Berlin") from None
    return value


def _check_days(value: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,4}d", value):
        raise ValueError('must be a number of days, such as "365d"')
    return value


class App(PolicyFields):
    """One App. Unknown fields are refused; the key is never part of a repr, a dump or an error."""

    # The comments `#:` are the App reference: scripts/docs.py puts them into docs/app.md.
    #: Name of the App in commands, the trail and the store. Default in a file: the file's name.
    id: Annotated[str, Field(pattern=f"^{_ID.pattern}$")] = DEFAULT_ID
    #: WAHA's base URL.
    url: Annotated[str, AfterValidator(parse_base)] = DEFAULT_URL
    #: The session's scoped key: `{ env = "NAME" }`, `{ file = "path" }`, `{ keyring = "name" }`, or the key itself.
    key: Annotated[SecretStr, AfterValidator(_check_key)]
    #: The WhatsApp session. Left out: the key's only session, as WAHA reports it.
    session: Annotated[str, Field(pattern=f"^{SESSION_NAME.pattern}$")] | None = None
    #: Whether the App may be used. `waha-mcp apps disable ID` sets this to `false`.
    enabled: bool = True
    #: What the agent may do: `read`, `send`, `control`, `setting`, `app`, `delete`. Left out: those of `read` and
    #: `send` that a probe finds the key to have.
    actions: Annotated[frozenset[Action] | None, BeforeValidator(_read_actions)] = None
    #: Groups of tools to offer.
    toolsets: _Names = frozenset({"core"})
    #: Single tools to offer besides those of the toolsets.
    include: _Names = frozenset()
    #: Single tools to leave out; takes precedence over `include`.
    exclude: _Names = frozenset()
    #: Accept an admin key, on which WAHA sets no limits.
    allow_admin_key: bool = False
    #: Time zone of times in arguments and answers, by its IANA name such as `Europe/Berlin`. Left out: the machine's.
    timezone: Annotated[str, AfterValidator(_check_timezone)] | None = None
    #: Maximum number of characters in one answer.
    budget: Annotated[int, Field(ge=2_000, le=1_000_000)] = 24_000
    #: The only folder from which local files are sent. Left out: no local files.
    outbox: Path | None = None
    #: The only folder into which `get_media` saves files. Left out: no files are saved.
    downloads: Path | None = None
    #: Let clients of a server over HTTP use `outbox` and `downloads`, which are on the server's machine.
    remote_files: bool = False
    #: Let `get_media` return links for a browser, which contain the session's media-only key.
    media_links: bool = False
    #: The service that transcribes voice notes. Left out: no transcription.
    transcriber: Transcriber | None = None
    #: How new messages are received: `live` over WAHA's WebSocket, whose URL contains the key, or `poll` by requests.
    feed: Literal["live", "poll"] = "live"
    #: Keep a search index of the readable messages on this machine's disk.
    index: bool = False
    #: The chats to index, out of those that may be read; entries as under `[chats]`.
    index_chats: Names = ("*",)
    #: How long a message stays in the index, such as `"365d"`. Left out: as long as it is in WhatsApp.
    retention: Annotated[str, AfterValidator(_check_days)] | None = None
    #: CA certificates (PEM file) for WAHA's https. Verification cannot be switched off.
    ca_file: Annotated[Path, AfterValidator(_check_certificates)] | None = None
    #: Allow plain http, which sends key and messages unencrypted, to a host outside private networks.
    allow_insecure_http: bool = False
    #: Hosts allowed as webhooks and proxies in session settings. Empty: neither can be set.
    outbound_hosts: Hosts = frozenset()

    @model_validator(mode="after")
    def _http_stays_private(self) -> Self:
        url = parse(self.url)
        if url.scheme == "http" and not self.allow_insecure_http and not is_local(url.host):
            raise ValueError(
                f"url: plain http would send the key unencrypted to {url.host}; use https://, "
                "or set allow_insecure_http = true (--allow-insecure-http of `waha-mcp init`) if the way there is safe"
            )
        return self

    #: Its sources, see `inputs.observed`. None: cannot be observed, such as a key in a keyring or from a pipe.
    _inputs: dict[str, Any] | None = PrivateAttr(None)
    #: The source it was loaded from, as passed to `load_app`.
    _source: str | None = PrivateAttr(None)

    @property
    def inputs(self) -> dict[str, Any] | None:
        """Its sources, as `inputs.observed` returns them; None if they cannot be observed cheaply."""
        return self._inputs

    @property
    def zone(self) -> ZoneInfo | None:
        """The App's time zone; None: the machine's, which `datetime.astimezone(None)` takes."""
        return None if self.timezone is None else ZoneInfo(self.timezone)

    @property
    def kept(self) -> float | None:
        """How long a message stays in the index, in seconds; None: without limit."""
        return None if self.retention is None else int(self.retention[:-1]) * 86_400.0

    def replaced(self) -> bool:
        """Whether its source now has another key or is disabled: a refusal of this key then withdraws no rights."""
        try:
            return load_app(self._source).key != self.key
        except Disabled:
            return True
        except AppError:
            return False

    @property
    def identity(self) -> str:
        """Its id and the digest of its key: data stored under it belongs to this App with this key only."""
        return f"{self.id}/{key_digest(self.key)}"

    def secrets(self) -> list[SecretStr]:
        """All its values that must not reach a log or another program."""
        found = [self.key]
        if self.transcriber is not None and self.transcriber.url is not None:
            found.append(SecretStr(os.environ.get(self.transcriber.key_env or "", "")))
        if self.approval.notify is not None and self.approval.notify.url is not None:
            found.append(self.approval.notify.url)
        return [each for each in found if each.get_secret_value()]


def load_app(
    source: str | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    alone: bool = False,
) -> App:
    """Load the App from a file (`source`: a path, or the id of a definition in `config_dir()`), environment and flags.

    `overrides`: values of flags by field name; None values are ignored. Empty environment variables count as unset.
    `alone`: only the environment variables that the file names are used, as for one App of many.

    Raises:
        AppError: the definition is missing, unreadable, invalid or disabled.
    """
    env = {k: v for k, v in (os.environ if environ is None else environ).items() if v.strip()}
    source = source or (None if alone else env.get("WAHA_MCP_APP"))
    _check_filled_in({"app": source})
    where = find_definition(source) if source else None
    fields = read_definition(where) if where else {}
    if where:
        fields["id"] = id_of(where, fields)
    if where and isinstance(fields.get("key"), str):
        _warn_if_open(where)
    fields |= ({} if alone else _from_environment(env)) | {k: v for k, v in (overrides or {}).items() if v is not None}
    _check_filled_in(fields)
    base = where.parent if where else Path.cwd()
    inputs = _inputs_of(source, where, fields, base)
    # Any other error is reported before a missing key.
    without_key = "key" not in fields
    fields = _resolve_secrets_and_paths({"key": SecretStr("unknown-yet")} | fields, base, env)
    _check_filled_in({"key": fields["key"]})
    try:
        app = App.model_validate(fields)
    except ValidationError as error:
        raise AppError(f"{where or 'the App'}: {_explain(error)}") from None
    if without_key:
        raise NoKey(
            "no key: make an App with `waha-mcp init`, or give the session's scoped key: WAHA_API_KEY, or "
            'key = {env = "NAME"} or {file = "path"} in the App file (`waha-mcp demo` needs none)'
        )
    if not app.enabled:
        name = managed_id(where)
        fix = f"`waha-mcp apps enable {name}`" if name else f"enabled = true in {where}"
        raise Disabled(f"App '{app.id}' is disabled: enable it with {fix}")
    app._inputs, app._source = inputs, source
    return app


def _inputs_of(source: str | None, where: Path | None, fields: Mapping[str, Any], base: Path) -> dict[str, Any] | None:
    """The sources of an App about to be loaded, except flags and environment variables with fixed names."""
    files, variables = [] if where is None else [str(where)], list[str]()
    match fields.get("key"):
        case {"keyring": _}:
            return None
        case {"file": str(name)}:
            files.append(str(base / expanded(name)))
        case {"env": str(name)}:
            variables.append(name)
    if not all(map(os.path.isfile, files)):
        return None  # a pipe can be read only once
    if source and where != expanded(source):
        # A file of this name would take precedence over the id.
        files.append(source)
    return observed(files, variables)


def _check_filled_in(fields: Mapping[str, Any]) -> None:
    """Refuse a value that is still its placeholder. The value is not quoted, since it may be a secret nevertheless.

    Raises:
        NotFilledIn: names the field, and the variable that may hold it.
    """
    for field, value in fields.items():
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        texts = [each.strip() for each in (text if isinstance(text, list) else [text]) if isinstance(each, str)]
        # Part of a URL may be a placeholder.
        if any(map(_PLACEHOLDER.search if field == "url" else _PLACEHOLDER.fullmatch, texts)):
            variable = {"key": "WAHA_API_KEY", "app": "WAHA_MCP_APP"}.get(field, f"WAHA_{field.upper()}")
            raise NotFilledIn(
                f"{field}: is a placeholder such as ${{{variable}}} and not the value: the program that starts "
                f"waha-mcp did not fill it in. Set {variable} where that program is started, or write the value itself"
            )


def _warn_if_open(path: Path) -> None:
    """Warn if others may read a file that contains a key."""
    if read_by_others(path):
        logger.warning(
            "%s holds a key and other users of this machine may read it: chmod 600 it, "
            'or name an environment variable instead (key = {env = "WAHA_API_KEY"})',
            path,
        )


def find_definition(source: str) -> Path:
    """The file for `--app`: a path, or the id of a definition in `config_dir()`.

    Raises:
        AppError: there is no definition with this id.
    """
    path = expanded(source)
    # A folder with the name of an id is ignored.
    if path.suffix in (".toml", ".json") or os.path.isfile(path):
        return path
    if named := next((each for each in definitions() if each.stem == source), None):
        return named  # whatever characters its name has
    if not _ID.fullmatch(source):
        return path
    folder = config_dir()
    known = [each.stem for each in definitions()]
    raise AppError(
        f"no App '{source}': it is neither a file nor an id in {folder} "
        f"({'which has ' + ', '.join(known) if known else 'which has none'}){did_you_mean(source, known)}"
    )


def managed_id(path: Path | None) -> str | None:
    """The id by which `waha-mcp apps` changes a definition; None for WAHA's own JSON and for files elsewhere."""
    return path.stem if path and path.suffix == ".toml" and path.parent == config_dir() else None


def expanded(text: str) -> Path:
    """The path with `~` expanded."""
    return Path(os.path.expanduser(text))


def _read_text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise AppError(f"{what}: cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise AppError(f"{what}: cannot read {path}: it is not UTF-8 text") from None
    except ValueError:
        raise AppError(f"{what}: {str(path)!r} is not a path") from None


def read_definition(path: Path) -> dict[str, Any]:
    """The raw fields of a definition file.

    Raises:
        AppError: the file cannot be read or parsed.
    """
    text = _read_text(path, "the App file")
    try:
        data = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise AppError(f"the App file {path} is not valid {kind}: {error}") from None
    if not isinstance(data, dict):
        raise AppError(f"the App file {path} must hold an object")
    return _from_waha_json(data, path) if path.suffix == ".json" else data


def _from_waha_json(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """Convert WAHA's App JSON (`POST /api/apps`) to our fields; other fields, such as `url`, are kept."""
    if data.get("app") != "mcp":
        raise AppError(f'the App file {path} is not a WAHA MCP App: "app" must be "mcp"')
    config = data.get("config")
    if not isinstance(config, dict):
        raise AppError(f'the App file {path} has no "config" object with "actions" and "key"')
    unknown = sorted(f"config.{k}" for k in config.keys() - {"actions", "key", "key_id"})
    if unknown:
        raise AppError(f"{path}: {', '.join(unknown)}: unknown field")
    fields = {k: v for k, v in data.items() if k not in ("app", "config")}
    if config.get("key") is not None:
        fields["key"] = config["key"]
    if "actions" in config:
        try:
            fields["actions"] = actions_from_waha(config["actions"])
        except ValueError as error:
            raise AppError(f"{path}: config.actions: {error}") from None
    return fields


#: The fields that the environment may give, each with its variable.
VARIABLES = {
    "url": "WAHA_URL",
    "key": "WAHA_API_KEY",
    "session": "WAHA_SESSION",
    "actions": "WAHA_ACTIONS",
    "toolsets": "WAHA_TOOLSETS",
    "include": "WAHA_INCLUDE",
    "exclude": "WAHA_EXCLUDE",
    "timezone": "WAHA_TIMEZONE",
}
_LISTS = ("actions", "toolsets", "include", "exclude")


def _from_environment(env: Mapping[str, str]) -> dict[str, Any]:
    given = {field: env[name].strip() for field, name in VARIABLES.items() if name in env}
    return {field: split_names(text) if field in _LISTS else text for field, text in given.items()}


def id_of(path: Path, fields: Mapping[str, Any]) -> Any:
    """The id of the App in a file: its field `id`, else one derived from the file's name.

    A name that is not a valid id is extended by its digest, so that no two names share an id.
    """
    if "id" in fields:
        return fields["id"]
    plain = _NO_ID.sub("-", path.stem).strip("_.-")
    if plain == path.stem:
        return plain
    return f"{plain or 'app'}-{digest(path.stem)[:6]}"


def readable_definitions() -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """The user's definitions that can be read: the App's id, the file and its raw fields."""
    for path in definitions():
        try:
            fields = read_definition(path)
        except AppError:
            continue
        yield str(id_of(path, fields)), path, fields


def shared_ids() -> dict[str, list[Path]]:
    """Ids used by several of the user's definitions, with their files: these share their state by mistake.

    Unreadable files are left out.
    """
    found: dict[str, list[Path]] = {}
    for app_id, path, _ in readable_definitions():
        found.setdefault(app_id, []).append(path)
    return {app_id: paths for app_id, paths in found.items() if len(paths) > 1}


def split_names(text: str) -> list[str]:
    """`"read, send"` as `["read", "send"]`."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _resolve_secrets_and_paths(fields: dict[str, Any], base: Path, env: Mapping[str, str]) -> dict[str, Any]:
    fields = dict(fields)
    fields["key"] = resolve_key(fields["key"], base, env)
    for name in ("outbox", "downloads"):
        if isinstance(fields.get(name), str):
            if not fields[name].strip():
                raise AppError(f'{name}: must name a folder, such as "~/whatsapp-{name}"')
            fields[name] = base / expanded(fields[name])
    if isinstance(fields.get("ca_file"), str):
        fields["ca_file"] = base / expanded(fields["ca_file"])
    return fields


def _variable(field: str, name: str, env: Mapping[str, str]) -> str:
    """The value of an environment variable that a field names. Text that is no valid name may be the secret itself."""
    if name in env:
        return env[name].strip()
    if re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}", name):
        raise AppError(f"{field}: the environment variable {name} is not set")
    raise AppError(f"{field}: env must name an environment variable that is set, such as WAHA_API_KEY")


def resolve_key(key: object, base: Path, env: Mapping[str, str]) -> SecretStr:
    """The key given or referred to by a definition's field `key`. `base`: the definition's folder.

    Raises:
        AppError: the key is missing or cannot be read.
    """
    match key:
        case SecretStr():
            return key
        case str():
            return SecretStr(key)
        case {"env": str(name), **rest} if not rest:
            return SecretStr(_variable("key", name, env))
        case {"file": str(name), **rest} if not rest:
            return SecretStr(_read_text(base / expanded(name), "key").strip())
        case {"keyring": str(name), **rest} if not rest:
            try:
                return SecretStr(keys.from_keyring(name))
            except keys.NoKeyThere as error:
                raise AppError(f"key: {error}") from None
    raise AppError('key: must be text, {env = "NAME"}, {file = "path"} or {keyring = "name"}')


def _explain(error: ValidationError) -> str:
    """pydantic's errors on one line, each with the path of its field, without values."""
    parts = []
    for item in error.errors(include_input=False, include_url=False, include_context=False):
        path = ".".join(str(p) for p in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "unknown field" + (did_you_mean(path, App.model_fields) if len(item["loc"]) == 1 else "")
        parts.append(f"{path}: {message}" if path else message)
    return "; ".join(parts)
