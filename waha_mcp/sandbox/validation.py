"""Checks of a request's query and body, worded as class-validator words them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from waha_mcp.sandbox.answers import bad_parameters, undefined
from waha_mcp.sandbox.contract import Contract, Operation, Param

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from starlette.datastructures import QueryParams

#: WAHA reads these bodies without checking them: a missing field causes a 500 when it is used.
UNCHECKED = ("ChattingController_", "StatusController_", "EventsController_", "PresenceController_")
#: Operations that ignore a limit that is not a number.
LENIENT_LIMIT = {"ChatsController_getChatMessages", "ChattingController_getMessages"}
_TYPES = {
    "string": "must be a string",
    "number": "must be a number conforming to the specified constraints",
    "boolean": "must be a boolean value",
    "array": "must be an array",
    "object": "must be an object",
}


def checked_query(operation: Operation, query: QueryParams) -> dict[str, Any]:
    """The query's values converted, with WAHA's defaults.

    Raises:
        Refusal: 400 with a list of the errors.
    """
    values: dict[str, Any] = {}
    errors: list[str] = []
    for param in operation.query:
        given = query.getlist(param.name) or query.getlist(f"{param.name}[]")
        if not given:
            if "default" in param.schema and param.name != "session":
                values[param.name] = param.schema["default"]
            elif param.required and param.name != "session":
                errors += [f"{param.name} should not be empty", f"{param.name} must be a string"]
            continue
        value, error = _read(operation, param, given)
        if error:
            errors.append(error)
        else:
            values[param.name] = value
    if errors:
        raise bad_parameters(errors)
    return values


def _read(operation: Operation, param: Param, given: list[str]) -> tuple[Any, str | None]:
    kind, text = param.schema.get("type"), given[-1]
    if kind == "number":
        try:
            value = float(text)
        except ValueError:
            if operation.id in LENIENT_LIMIT:
                return param.schema.get("default"), None
            return None, f"{param.name} {_TYPES['number']}"
        minimum = param.schema.get("minimum")
        if minimum is not None and value < minimum:
            return None, f"{param.name} must not be less than {minimum}"
        return (int(value) if value.is_integer() else value), None
    if kind == "boolean":
        return text.lower() in ("true", "1"), None
    if kind == "array":
        allowed = param.schema.get("items", {}).get("enum")
        if allowed and any(each not in allowed for each in given):
            return None, f"each value in {param.name} {_one_of(allowed)}"
        return given, None
    allowed = param.schema.get("enum")
    if allowed and text not in allowed:
        return None, f"{param.name} {_one_of(allowed)}"
    return text, None


def _one_of(allowed: list[str]) -> str:
    return f"must be one of the following values: {', '.join(allowed)}"


def check_body(contract: Contract, operation: Operation, body: Any) -> None:
    """Check a body against the contract.

    Raises:
        Refusal: 400 with a list of the errors, if WAHA checks.
        Crash: WAHA does not check and fails on the value.
    """
    validator = contract.body_validator(operation)
    if validator is None or (body is None and not operation.body_required):
        return
    errors = list(validator.iter_errors({} if body is None else body))
    if not errors:
        return
    if operation.id.startswith(UNCHECKED):
        errors = [error for error in errors if "session" not in _names(error)]
        if errors:
            raise undefined(next(_names(errors[0]), "body"))
        return
    raise bad_parameters(list(dict.fromkeys(line for error in errors for line in _wording(error))))


def _names(error: ValidationError) -> Iterator[str]:
    path = ".".join(str(part) for part in error.absolute_path)
    rule: Any = error.validator_value
    value: Any = error.instance
    if error.validator == "required":
        yield from (f"{path}.{name}".lstrip(".") for name in rule if name not in value)
    elif path:
        yield path


def _wording(error: ValidationError) -> Iterator[str]:
    schema_at: Any = error.schema
    rule: Any = error.validator_value
    if error.validator == "required":
        properties: Mapping[str, Any] = schema_at.get("properties", {})
        for name in _names(error):
            schema = properties.get(name.rsplit(".", 1)[-1], {})
            if "enum" in schema:
                yield f"{name} {_one_of(schema['enum'])}"
            else:
                yield f"{name} {_TYPES.get(str(schema.get('type')), 'should not be empty')}"
        return
    name = next(_names(error), "body")
    if error.validator == "type":
        kind = rule[0] if isinstance(rule, list) else rule
        yield f"{name} {_TYPES.get(kind, 'is not valid')}"
    elif error.validator == "enum":
        yield f"{name} {_one_of(rule)}"
    elif error.validator == "maxLength":
        yield f"{name} must be shorter than or equal to {rule} characters"
    elif error.context:
        yield from _wording(error.context[0])
    else:
        yield f"{name} is not valid"
