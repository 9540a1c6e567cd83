"""The catalog: one record per tool, from which listings, call checks, docs and snapshots derive.

A tool is a function decorated with `@tool(...)`. Its name, parameters and return type become the tool's name, input
schema and output schema; its docstring is the description that agents read. Keyword-only parameters are not arguments:
`ctx` is passed by the server, others by the function for completing (`Tool.complete`). Modules that define tools do
not use `from __future__ import annotations`, since parameter types are read at run time.
"""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, ParamSpec, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from waha_mcp.app.actions import Action, Grant
from waha_mcp.app.definition import App
from waha_mcp.feed.live import Feed
from waha_mcp.feed.record import Mark
from waha_mcp.people.directory import Directory
from waha_mcp.tools.forgiving import description_of, meant, normalized, plain
from waha_mcp.tools.params import (
    ContentType,
    CursorReference,
    Encoded,
    Fetched,
    FetchesLinks,
    LocalFile,
    MessageReference,
    Needs,
    PlaceReference,
    Reference,
    SavedName,
    Unseen,
    mark_in,
)
from waha_mcp.tools.schema_words import in_words
from waha_mcp.waha.client import Waha
from waha_mcp.waha.errors import session_step
from waha_mcp.waha.models import Result, Sent
from waha_mcp.waha.web_fetch import WebFile
from waha_mcp.whatsapp.ids import NOT_KNOWN, chats_of, is_broadcast

if TYPE_CHECKING:
    from waha_mcp.indexing import Indexing

P = ParamSpec("P")
R = TypeVar("R", bound=Result)
Progress = Callable[[float, float | None, str], Awaitable[None]]
M = TypeVar(
    "M",
    Reference,
    MessageReference,
    CursorReference,
    PlaceReference,
    Fetched,
    FetchesLinks,
    LocalFile,
    Encoded,
    ContentType,
    SavedName,
    Unseen,
    Needs,
)


async def not_paused() -> str | None:
    """The `paused` of a context without a policy: None."""
    return None


async def none_granted() -> list[str] | None:
    """The `task_grants` of a context without a policy: None."""
    return None


async def no_progress(done: float, total: float | None, message: str) -> None:
    """A `Progress` that does nothing."""


@dataclass(frozen=True)
class Context:
    """What a tool gets besides its arguments.

    `readable`: whether a chat id may be shown; every tool that lists, searches, counts or reads chats must check it.
    `reach`: one line on who can be written to and read. `paused`: since when the user has stopped effects, as text;
    None: not. `task_grants`: the windows that the user has opened, as texts; None: none.
    `progress(done, total, message)` reports on a long job to the client; total None: unknown.
    """

    app: App
    waha: Waha
    grant: Grant
    directory: Directory
    readable: Callable[[str], bool] = lambda chat_id: True
    reach: Callable[[], str] = lambda: ""
    paused: Callable[[], Awaitable[str | None]] = not_paused
    progress: Progress = no_progress
    #: Events in WhatsApp, for tools that read; None if nobody listens.
    feed: Feed | None = None
    #: When the call began (seconds of the monotonic clock).
    started: float = field(default_factory=time.monotonic)
    #: Message ids as given in the arguments to WAHA's rows; an empty row where only the store knows the message.
    messages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: Paths of local files as given in the arguments to their bytes, as checked and approved.
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    #: URLs as given in the arguments to what was fetched from them; empty where WAHA fetches by itself.
    fetched: Mapping[str, WebFile] = field(default_factory=dict)
    #: The local index of messages, for tools that read; None: there is none.
    indexing: Indexing | None = None
    task_grants: Callable[[], Awaitable[list[str] | None]] = none_granted

    def noticed(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Give messages that were read to the index, which keeps those that it may keep."""
        if self.indexing is not None:
            self.indexing.noticed(rows)

    def shows(self, chat: str, message_id: str) -> bool:
        """Whether a message in a readable chat may be shown: a status story only if its author may be read."""
        if not is_broadcast(chat):
            return True
        try:
            return all(map(self.readable, chats_of(message_id)))
        except ValueError:
            return self.readable(NOT_KNOWN)


@dataclass(frozen=True)
class Hints:
    """MCP's four tool annotations. They inform the client; they enforce nothing."""

    read_only: bool
    destructive: bool
    idempotent: bool
    open_world: bool


#: Reads messages; open world, since strangers wrote them.
READS = Hints(read_only=True, destructive=False, idempotent=True, open_world=True)
#: Reads only the state of WAHA.
INSPECTS = Hints(read_only=True, destructive=False, idempotent=True, open_world=False)
#: Reaches other people; not idempotent.
SENDS = Hints(read_only=False, destructive=False, idempotent=False, open_world=True)
#: Changes something that others can see; idempotent.
SETS = Hints(read_only=False, destructive=False, idempotent=True, open_world=True)


#: Irreversible without further steps: deleting, leaving, blocking, logging out.
DESTROYS = Hints(read_only=False, destructive=True, idempotent=True, open_world=True)
#: Changes only the configuration of WAHA; idempotent.
CONFIGURES = Hints(read_only=False, destructive=False, idempotent=True, open_world=False)

#: The toolset that every destructive tool needs besides its own, and the one that includes all toolsets.
DESTRUCTIVE, EVERY = "destructive", "all"


#: Whom an effect reaches besides the chats in the arguments. "status": those who see our status stories; "everyone":
#: an unlimited audience (of the profile, a public channel, a webhook, a group that others open to others, or that is
#: joined by link); "nobody": no others.
Reach = Literal["nobody", "status", "everyone"]

AllowRepeat = Annotated[bool, Field(description="Even if done within the last minute")]


#: From the validated arguments to those of the call. It may raise ArgumentError.
Complete = Callable[[dict[str, Any]], dict[str, Any]]
#: From the result, the arguments and the context to the result with what was added to it.
Afterwards = Callable[[Any, Mapping[str, Any], "Context", Mark | None], Awaitable[Result]]


class ArgumentError(Exception):
    """Invalid arguments. The text names the property and what would be valid."""


@dataclass(frozen=True)
class Tool:
    """One tool. `action`: the action the key must allow (None: none); `calls`: the WAHA operations it may use.

    A tool with an effect (not read-only) reaches the chats in its parameters marked `Reference` or `MessageReference`,
    and those of `reaches`, which is required if it has no such parameter. `opens`: the combinations of arguments with
    which it reaches those of `reaches`; empty: it always does. `looks_like`: the tool whose message recipients cannot
    tell from this one's. `one_of`: exactly one of these parameters must be given.
    `complete` completes the arguments by each other, or refuses them, before anybody sees them; chats that it finds in
    them are resolved and checked like those in any argument. `afterwards`: the step after the call is done and
    recorded, with the position in the feed right before; it may add to the result and does not raise.
    `dropped`: parameters that are missing because the key lacks the action that they need.
    """

    name: str
    title: str
    description: str
    action: Action | None
    calls: tuple[str, ...]
    toolset: str
    hints: Hints
    reaches: Reach | None
    run: Callable[..., Awaitable[Result]]
    opens: tuple[Mapping[str, Any], ...] = ()
    looks_like: str | None = None
    one_of: tuple[str, ...] = ()
    complete: Complete | None = None
    afterwards: Afterwards | None = None
    dropped: frozenset[str] = frozenset()

    def under(self, actions: Collection[Action]) -> Tool:
        """The tool as it is under these actions: without the parameters that need others."""
        dropped = frozenset(name for name, mark in self.needs.items() if mark.action not in actions)
        if dropped == self.dropped:
            return self
        if (self.name, dropped) not in _UNDER:
            _UNDER[self.name, dropped] = replace(self, dropped=dropped)
        return _UNDER[self.name, dropped]

    @cached_property
    def arguments(self) -> type[BaseModel]:
        """The model of the arguments, built on first access."""
        fields: dict[str, Any] = {
            p.name: (p.annotation, ... if p.default is p.empty else p.default)
            for p in inspect.signature(self.run).parameters.values()
            if p.kind is not p.KEYWORD_ONLY and p.name not in self.dropped
        }
        if self.repeats:
            fields["allow_repeat"] = (AllowRepeat, False)
        return create_model(self.name, __config__=ConfigDict(extra="forbid", hide_input_in_errors=True), **fields)

    @property
    def toolsets(self) -> tuple[str, ...]:
        """The toolsets that must all be chosen: its own, and `destructive` if it is destructive."""
        return (self.toolset, DESTRUCTIVE) if self.hints.destructive else (self.toolset,)

    @property
    def effect(self) -> bool:
        """Whether it changes anything."""
        return not self.hints.read_only

    @property
    def reaches_chats(self) -> bool:
        """Whether its effect reaches chats in its arguments."""
        marks: list[Reference | MessageReference] = [*self.references.values(), *self.messages.values()]
        return self.effect and any(mark.reached for mark in marks)

    def reaches_with(self, arguments: Mapping[str, Any]) -> Reach:
        """Whom the effect reaches with these arguments, besides the chats in them."""
        opened = not self.opens or any(each.items() <= arguments.items() for each in self.opens)
        return self.reaches if self.reaches is not None and opened else "nobody"

    @cached_property
    def posted_in(self) -> tuple[str, ...]:
        """The parameters for the chat in which a message of ours stands afterwards; none if it sends no message.

        People who are only mentioned in it, or may see it, get no message.
        """
        if self.result is not Sent:
            return ()
        fields = self.arguments.model_fields
        chats = [name for name, mark in self.references.items() if mark.reached and fields[name].annotation is str]
        return tuple(chats or [name for name, mark in self.messages.items() if mark.reached])

    @property
    def repeats(self) -> bool:
        """Whether it has an effect and is not idempotent. It then takes `allow_repeat`, which the policy handles."""
        return self.effect and not self.hints.idempotent

    @cached_property
    def references(self) -> Mapping[str, Reference]:
        """The parameters for chats or people, with their marks."""
        return self._marked(Reference)

    @cached_property
    def messages(self) -> Mapping[str, MessageReference]:
        """The parameters for messages, with their marks."""
        return self._marked(MessageReference)

    @cached_property
    def cursors(self) -> frozenset[str]:
        """The parameters for cursors."""
        return frozenset(self._marked(CursorReference))

    @cached_property
    def places(self) -> frozenset[str]:
        """The parameters for places in time."""
        return frozenset(self._marked(PlaceReference))

    @cached_property
    def needs(self) -> Mapping[str, Needs]:
        """The parameters that need another action, with their marks."""
        return self._marked(Needs)

    @cached_property
    def fetched(self) -> Mapping[str, Fetched]:
        """The parameters for URLs of files, with their marks."""
        return self._marked(Fetched)

    @cached_property
    def link_previews(self) -> Mapping[str, FetchesLinks]:
        """The flags that make WAHA fetch the links in the text, with their marks."""
        return self._marked(FetchesLinks)

    @cached_property
    def local_files(self) -> Mapping[str, LocalFile]:
        """The parameters for files in the outbox folder, with their marks."""
        return self._marked(LocalFile)

    @cached_property
    def encoded(self) -> Mapping[str, Encoded]:
        """The parameters for bytes in base64, with their marks."""
        return self._marked(Encoded)

    @cached_property
    def unread(self) -> frozenset[str]:
        """The parameters whose strings nobody reads as a text: a file's bytes, a MIME type."""
        return frozenset(self.encoded) | self._marked(ContentType).keys()

    @cached_property
    def saved_names(self) -> Mapping[str, SavedName]:
        """The parameters for parts of the name under which a person is saved, in their order, with their marks."""
        return self._marked(SavedName)

    @cached_property
    def unseen(self) -> frozenset[str]:
        """The parameters that change nothing in what a recipient sees: those marked so, and link previews."""
        return frozenset(self._marked(Unseen)) | self.link_previews.keys()

    def _marked(self, kind: type[M]) -> dict[str, M]:
        parameters = inspect.signature(self.run).parameters.values()
        return {p.name: mark for p in parameters if (mark := mark_in(p.annotation, kind)) is not None}

    @cached_property
    def result(self) -> type[Result]:
        """The model of the result."""
        model = inspect.signature(self.run).return_annotation
        assert isinstance(model, type)
        assert issubclass(model, Result)
        return model

    @cached_property
    def input_schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments, as hosts pass it on (`tools.schema_words`)."""
        schema = self.arguments.model_json_schema(schema_generator=_Schema)
        return in_words({"type": "object", "properties": {}} | schema)

    def normalized(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as hosts and models send them, in the form that they mean."""
        return normalized(self.arguments, arguments)

    def guessed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Normalized arguments, those of unknown names under the ones that they most likely mean: for errors alone."""
        fields = self.arguments.model_fields
        if given.keys() <= fields.keys():
            return dict(given)
        names = {name: (meant(name, fields) if name not in fields else None) or name for name in given}
        return self.normalized({(to if to not in given else name): given[name] for name, to in names.items()})

    def parse(self, arguments: Mapping[str, Any], zone: tzinfo | None = None) -> dict[str, Any]:
        """Normalize and validate the arguments, as `validated`."""
        return self.validated(self.normalized(arguments), zone)

    def validated(self, arguments: Mapping[str, Any], zone: tzinfo | None = None) -> dict[str, Any]:
        """Validate normalized arguments; values by parameter name.

        Times without a zone are in `zone`; None: the machine's.

        Raises:
            ArgumentError: invalid; names each property and what would be valid.
        """
        try:
            parsed = self.arguments.model_validate(arguments, context={"zone": zone})
        except ValidationError as error:
            raise ArgumentError(self._explain(error)) from None
        values = {name: getattr(parsed, name) for name in self.arguments.model_fields}
        given = [name for name in self.one_of if values[name] is not None]
        if self.one_of and len(given) != 1:
            which = f"{' and '.join(given)} are" if given else "none is"
            raise ArgumentError(
                f"Give exactly one of {', '.join(self.one_of[:-1])} and {self.one_of[-1]}: {which} given"
            )
        return values if self.complete is None else self.complete(values)

    def _explain(self, error: ValidationError) -> str:
        parts: list[str] = []
        takes: dict[str, None] = {}
        for item in error.errors(include_url=False):
            *above, name = item["loc"]
            path = ".".join(str(part)[:80] for part in item["loc"])
            owner, fields = self._object_at(above)
            said = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
            match item["type"]:
                case "extra_forbidden":
                    near = meant(str(name), fields)
                    parts.append(f"{path}: unknown property" + (f" (did you mean {near}?)" if near else ""))
                    known = ", ".join(f"{each} (required)" if f.is_required() else each for each, f in fields.items())
                    takes[f"{owner} takes {known or 'no arguments'}"] = None
                    continue
                case "missing":
                    said = "required"
                case _ if item["input"] is None:
                    said = "required"
                case "string_too_short":
                    said = "must not be blank"
            about = description_of(fields[str(name)]) if name in fields else None
            parts.append(f"{path}: {said}" + (f" ({about})" if about else ""))
        return f"Wrong arguments for {self.name}. " + "; ".join([*parts, *takes])

    def _object_at(self, above: Sequence[int | str]) -> tuple[str, Mapping[str, FieldInfo]]:
        """The model or tool that has the properties at a path in the arguments, and its fields."""
        owner, fields = self.name, self.arguments.model_fields
        for part in above:
            kind = plain(fields[part].annotation) if isinstance(part, str) and part in fields else None
            kind = plain(get_args(kind)[0]) if get_origin(kind) is list else kind
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                owner, fields = str(part), kind.model_fields
        return owner, fields


class _Schema(GenerateJsonSchema):
    """JSON Schema without titles, and with optional fields as their type instead of a union with null."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default", ...) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        json_schema = super().model_schema(schema)
        json_schema.pop("title", None)
        # Docstrings of models are for maintainers.
        json_schema.pop("description", None)
        return json_schema


_TOOLS: dict[str, Tool] = {}
#: Tools without some of their parameters, by name and missing parameters.
_UNDER: dict[tuple[str, frozenset[str]], Tool] = {}
#: All loaded tools by name, in listing order. Read-only; `tool` adds to it.
CATALOG: Mapping[str, Tool] = MappingProxyType(_TOOLS)


def tool(
    *,
    title: str,
    action: Action | None,
    calls: list[str],
    hints: Hints,
    toolset: str = "core",
    reaches: Reach | None = None,
    opens: Sequence[Mapping[str, Any]] = (),
    looks_like: str | None = None,
    one_of: tuple[str, ...] = (),
    complete: Complete | None = None,
    afterwards: Afterwards | None = None,
) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
    """Decorator: register a function as a tool. Returns the function unchanged."""

    def register(run: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        name = run.__name__
        assert name not in _TOOLS, f"two tools named {name}"
        # A paragraph becomes one line: line breaks in the source mean nothing.
        description = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(run.__doc__ or ""))
        _TOOLS[name] = Tool(
            name,
            title,
            description,
            action,
            tuple(calls),
            toolset,
            hints,
            reaches,
            run,
            tuple(opens),
            looks_like,
            one_of,
            complete,
            afterwards,
        )
        return run

    return register


def in_order_of(modules: Sequence[str]) -> None:
    """Sort the catalog by the modules that define the tools; tools of other modules come last."""
    places = {module: place for place, module in enumerate(modules)}
    ordered = sorted(_TOOLS.items(), key=lambda item: places.get(item[1].run.__module__, len(places)))
    _TOOLS.clear()
    _TOOLS.update(ordered)


def not_chosen(tool: Tool, app: App) -> list[str]:
    """The toolsets that a tool needs and the App has not chosen."""
    if tool.name in app.include or EVERY in app.toolsets:
        return []
    return [name for name in tool.toolsets if name not in app.toolsets]


def why_hidden(tool: Tool, app: App, grant: Grant) -> str | None:
    """Why a tool is neither listed nor callable, in a few words; None for an exposed tool.

    Listings and calls use the same check, so a tool is listed exactly if it can be called.
    """
    if tool.name in app.exclude:
        return "excluded by the App"
    if missing := not_chosen(tool, app):
        names = " and ".join(map(repr, missing))
        return f"toolset {names} is not chosen" if len(missing) == 1 else f"toolsets {names} are not chosen"
    return None if tool.action is None else grant.why_not(tool.action)


def session_advice(session: str, status: str, app: App, grant: Grant) -> str:
    """What a session's status means, and the next step: with a tool where the key has the action control."""
    name = "get_qr_code" if status == "SCAN_QR_CODE" else "control_session"
    tool = CATALOG.get(name)
    if tool is not None and why_hidden(tool, app, grant) is None:
        return session_step(session, status, by_tool=True)
    step = session_step(session, status)
    choosable = Action.CONTROL in grant.actions and name not in app.exclude
    if choosable and step != session_step(session, status, by_tool=True):
        step += f" Or they choose the toolset session in the App, for {name}."
    return step


def exposed(app: App, grant: Grant) -> list[Tool]:
    """The tools of an App under a grant, in a stable order."""
    actions = grant.actions
    return [tool.under(actions) for tool in CATALOG.values() if why_hidden(tool, app, grant) is None]
