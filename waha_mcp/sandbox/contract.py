"""WAHA's contract as data: its operations, the action each one demands, and checks against its schemas.

`contract.json` holds what WAHA publishes (OpenAPI 3.0) plus the key action of every operation. WAHA's document is
generated and has quirks that a strict validator does not accept; they are normalized once, here:

- `nullable` becomes a null type, `oneOf` becomes `anyOf` (WAHA takes a file with both `url` and `data`);
- a bare `object` means "not described" (WAHA writes it for strings and booleans too) and accepts anything;
- `required: true` inside a property is not JSON Schema: it is dropped, and a list of required lists is a plain list;
- in requests, a field with a default is optional, unless it is text, where defaults are examples; optional fields may
  be null (class-validator's IsOptional);
- in responses, null may stand for any property and deprecated ones may be missing, as WAHA does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

Schema = Mapping[str, Any]
#: The content types whose bodies the contract describes with a schema worth checking.
JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Param:
    """One path or query parameter. `schema` is a JSON Schema (Draft 2020-12)."""

    name: str
    where: Literal["path", "query"]
    required: bool
    schema: Schema


@dataclass(frozen=True, slots=True)
class Operation:
    """One WAHA operation.

    `action` is what a key needs: one of the six actions, or `server`, `list`, `create`, `admin`, `none`, `unknown`.
    `session_from` says where the guard finds the session's name: `path`, `query`, `body`, `body:name`, `app` (the
    App's session), `none`, `unknown`.
    `body` is the JSON Schema of the request body, `responses` maps a status to content types and their schemas.
    """

    id: str
    method: str
    path: str
    action: str
    session_from: str
    params: tuple[Param, ...] = ()
    body: Schema | None = None
    body_required: bool = False
    responses: Mapping[int, Mapping[str, Schema]] = field(default_factory=dict)
    deprecated: bool = False
    note: str = ""

    @property
    def success(self) -> int:
        """The status of a normal answer."""
        return min(self.responses)

    @property
    def query(self) -> tuple[Param, ...]:
        return tuple(param for param in self.params if param.where == "query")

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Contract:
    """All operations of one WAHA version, with routing and checks."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        schemas: Mapping[str, Schema] = document["schemas"]
        self.waha: str = document["waha"]
        self._request_defs = {name: _to_json_schema(value, "request") for name, value in schemas.items()}
        #: The schemas of what WAHA sends, by name; they refer to each other under `$defs`.
        self.response_schemas = {name: _to_json_schema(value, "response") for name, value in schemas.items()}
        self.operations = tuple(_operation(raw) for raw in document["operations"])
        self._validators: dict[int, Validator] = {}

    @cached_property
    def by_id(self) -> Mapping[str, Operation]:
        return {operation.id: operation for operation in self.operations}

    @cached_property
    def _routes(self) -> Mapping[tuple[str, int], list[tuple[list[str], Operation]]]:
        routes: dict[tuple[str, int], list[tuple[list[str], Operation]]] = {}
        for operation in self.operations:
            segments = operation.path.split("/")
            routes.setdefault((operation.method, len(segments)), []).append((segments, operation))
        for candidates in routes.values():
            # A literal segment beats a parameter, from left to right: /chats/overview before /chats/{chatId}.
            candidates.sort(key=lambda candidate: [segment.startswith("{") for segment in candidate[0]])
        return routes

    def match(self, method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
        """The operation that serves a request and its path parameters, or None.

        `path` is the path as sent, percent-encoded and without the query.
        """
        actual = path.rstrip("/").split("/")
        for segments, operation in self._routes.get((method.upper(), len(actual)), ()):
            found: dict[str, str] = {}
            for wanted, got in zip(segments, actual, strict=True):
                if wanted.startswith("{"):
                    found[wanted[1:-1]] = unquote(got)
                elif wanted != got:
                    break
            else:
                return operation, found
        return None

    def body_validator(self, operation: Operation) -> Validator | None:
        """The validator of an operation's JSON body, or None when it takes none."""
        return None if operation.body is None else self._validator(operation.body, self._request_defs)

    def body_errors(self, operation: Operation, value: Any) -> list[str]:
        """The errors of a request body, one line each; empty if it is valid."""
        validator = self.body_validator(operation)
        if validator is None:
            return [] if value in (None, {}) else [f"{operation} takes no body"]
        if value is None:
            return [f"{operation} needs a body"] if operation.body_required else []
        return _lines(validator, value)

    def query_errors(self, operation: Operation, query: Mapping[str, str | list[str]]) -> list[str]:
        """The errors of a query (text values, lists for repeated names), one line each."""
        known = {param.name: param for param in operation.query}
        errors = [f"unknown query parameter {name!r}" for name in query if name not in known]
        for name, param in known.items():
            if name in query:
                value = _from_text(query[name], param.schema)
                errors += [f"{name}: {line}" for line in _lines(self._validator(param.schema, {}), value)]
            elif param.required and ("default" not in param.schema or name == "session"):
                errors.append(f"query parameter {name!r} is required")
        return errors

    def response_errors(self, operation: Operation, status: int, value: Any) -> list[str]:
        """The errors of a JSON answer with a described status, one line each.

        A status or a content type that the contract does not describe has no errors; neither has a null answer.
        """
        schema = operation.responses.get(status, {}).get(JSON_TYPE)
        if schema is None or value is None:
            return []
        return _lines(self._validator(schema, self.response_schemas), value)

    def _validator(self, schema: Schema, defs: Mapping[str, Schema]) -> Validator:
        found = self._validators.get(id(schema))
        if found is None:
            # jsonschema takes a tenth of a second to import, which should not slow down every start.
            from jsonschema import Draft202012Validator

            found = self._validators[id(schema)] = Draft202012Validator({**schema, "$defs": defs})
        return found


@cache
def contract() -> Contract:
    """The contract of the WAHA version that this package knows."""
    return Contract(json.loads(files(__package__).joinpath("contract.json").read_text("utf-8")))


def _operation(raw: Mapping[str, Any]) -> Operation:
    body = raw.get("body")
    content = body["content"].get(JSON_TYPE) if body else None
    return Operation(
        id=raw["id"],
        method=raw["method"],
        path=raw["path"],
        action=raw["action"],
        session_from=raw["session_from"] or "none",
        params=tuple(
            Param(
                name=param["name"],
                where=param["in"],
                required=bool(param.get("required")),
                schema=_to_json_schema(param["schema"], "request"),
            )
            for param in raw.get("params", ())
        ),
        body=None if content is None else _to_json_schema(content, "request"),
        body_required=bool(body and body.get("required")),
        responses={
            int(status): {kind: _to_json_schema(schema, "response") for kind, schema in answers.items()}
            for status, answers in raw["responses"].items()
        },
        deprecated=bool(raw.get("deprecated")),
        note=raw.get("note", ""),
    )


_KEPT = ("type", "enum", "minimum", "maxLength", "default", "description")


def _to_json_schema(schema: Schema, side: Literal["request", "response"]) -> dict[str, Any]:
    """One OpenAPI schema of WAHA's document as JSON Schema 2020-12 (the module's docstring says what is normalized)."""
    if "$ref" in schema:
        result: dict[str, Any] = {"$ref": "#/$defs/" + schema["$ref"].rsplit("/", 1)[-1]}
    elif variants := schema.get("allOf") or schema.get("oneOf"):
        result = {"anyOf": [_to_json_schema(variant, side) for variant in variants]}
    else:
        result = {key: schema[key] for key in _KEPT if key in schema}
        if "properties" in schema:
            _add_properties(result, schema, side)
        elif isinstance(schema.get("additionalProperties"), Mapping):
            result["additionalProperties"] = _to_json_schema(schema["additionalProperties"], side)
        elif result.get("type") == "object":
            del result["type"]
        if "items" in schema:
            items = schema["items"]
            result["items"] = _to_json_schema(items["items"] if items.get("required") is True else items, side)
    if "default" in schema:
        result["default"] = schema["default"]
    if schema.get("nullable"):
        return {"anyOf": [result, {"type": "null"}]}
    return result


def _add_properties(result: dict[str, Any], schema: Schema, side: Literal["request", "response"]) -> None:
    properties: Mapping[str, Schema] = schema["properties"]
    required = schema.get("required")
    waived = _may_be_missing if side == "request" else _is_deprecated
    needed = [name for name in required if not waived(properties.get(name, {}))] if isinstance(required, list) else []
    result["properties"] = {}
    for name, value in properties.items():
        converted = _to_json_schema(value, side)
        may_be_null = side == "response" or name not in needed
        result["properties"][name] = {"anyOf": [converted, {"type": "null"}]} if may_be_null else converted
    if needed:
        result["required"] = needed


def _may_be_missing(schema: Schema) -> bool:
    """Whether WAHA falls back to the default. The default of a text is only an example for readers."""
    return "default" in schema and (schema.get("type") == "object" or not isinstance(schema["default"], str))


def _is_deprecated(schema: Schema) -> bool:
    return bool(schema.get("deprecated"))


def _lines(validator: Validator, value: Any) -> list[str]:
    return [
        f"{'.'.join(str(part) for part in error.absolute_path) or 'body'}: {error.message}"
        for error in validator.iter_errors(value)
    ]


def _from_text(value: str | list[str], schema: Schema) -> Any:
    """A query value converted by its schema; left as text if it cannot be."""
    kind = schema.get("type")
    if kind == "array":
        return value if isinstance(value, list) else [value]
    if isinstance(value, list):
        return value
    if kind == "number":
        try:
            return float(value)
        except ValueError:
            return value
    if kind == "boolean":
        return {"true": True, "false": False}.get(value, value)
    return value
