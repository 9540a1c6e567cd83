"""Regenerate contract.json from the OpenAPI document of a WAHA, and print what was added, changed or removed.

    python scripts/update_contract.py http://localhost:3000/-json     a running WAHA
    python scripts/update_contract.py openapi.json                    a file

If the WAHA asks for a login, WAHA_SWAGGER_USER and WAHA_SWAGGER_PASSWORD hold the user and password of its Swagger.
OpenAPI does not say which action a key needs: known operations keep theirs, new ones get `unknown`, which no tool may
call. CONTRIBUTING.md says what to do with them. With --dry-run nothing is written.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

CONTRACT = Path(__file__).resolve().parent.parent / "waha_mcp" / "sandbox" / "contract.json"
METHODS = ("get", "post", "put", "patch", "delete")
#: The keywords of a schema that are kept: its meaning, without the prose.
KEYWORDS = (
    "$ref", "additionalProperties", "allOf", "anyOf", "default", "deprecated", "enum", "format", "items", "maxLength",
    "minimum", "nullable", "oneOf", "properties", "readOnly", "required", "type",
)  # fmt: skip

Operation = dict[str, Any]


def fetch(source: str) -> Any:
    """The OpenAPI document behind a URL or in a file."""
    if not source.startswith(("http://", "https://")):
        return json.loads(Path(source).read_text(encoding="utf-8"))
    user, password = os.environ.get("WAHA_SWAGGER_USER"), os.environ.get("WAHA_SWAGGER_PASSWORD")
    answer = httpx.get(source, auth=(user, password or "") if user else None, timeout=30)
    answer.raise_for_status()
    return answer.json()


def schema(raw: Any) -> Any:
    """A schema without prose. Properties are kept, whatever their names."""
    if not isinstance(raw, Mapping):
        return raw
    kept = {}
    for word, value in raw.items():
        if word not in KEYWORDS:
            continue
        if word == "properties":
            kept[word] = {name: schema(each) for name, each in value.items()}
        elif word in ("items", "additionalProperties"):
            kept[word] = schema(value)
        elif word in ("allOf", "anyOf", "oneOf"):
            kept[word] = [schema(each) for each in value]
        else:
            kept[word] = value
    return kept


def content(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {kind: schema(body.get("schema", {})) for kind, body in raw.items()}


def session_from(operation: Operation) -> str:
    """Where a new operation most likely takes its session from, by its parameters."""
    if "{session}" in operation["path"]:
        return "path"
    if any(param["name"] == "session" for param in operation["params"]):
        return "query"
    return "body" if operation["body"] else "none"


def operations(document: Mapping[str, Any], known: Mapping[str, Operation]) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method not in item:
                continue
            raw = item[method]
            before = known.get(f"{method.upper()} {path}")
            body = raw.get("requestBody")
            operation: Operation = {
                "id": raw.get("operationId", ""),
                "method": method.upper(),
                "path": path,
                "action": before["action"] if before else "unknown",
                "session_from": None,
                "params": [
                    {"name": p["name"], "in": p["in"]}
                    | ({"required": True} if p.get("required") else {"required": False})
                    | {"schema": schema(p.get("schema", {}))}
                    for p in (*item.get("parameters", ()), *raw.get("parameters", ()))
                    if p["in"] in ("path", "query")
                ],
                "body": body and {"required": bool(body.get("required")), "content": content(body.get("content", {}))},
                "responses": {
                    status: content(answer.get("content", {})) for status, answer in raw.get("responses", {}).items()
                },
            }
            operation["session_from"] = before["session_from"] if before else session_from(operation)
            if raw.get("deprecated"):
                operation["deprecated"] = True
            if note := before.get("note") if before else "the action is not known yet":
                operation["note"] = note
            yield operation


def convert(document: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """The contract of a document, with the actions that the old contract has."""
    known = {f"{each['method']} {each['path']}": each for each in old["operations"]}
    schemas = document.get("components", {}).get("schemas", {})
    return {
        "waha": document["info"]["version"],
        "operations": list(operations(document, known)),
        "schemas": {name: schema(raw) for name, raw in schemas.items()},
    }


def meaning(contract: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The parts of each operation with all schemas that they refer to, for comparison."""
    schemas = contract["schemas"]

    def named(value: Any, seen: dict[str, Any]) -> dict[str, Any]:
        if isinstance(value, Mapping):
            if isinstance(ref := value.get("$ref"), str) and (name := ref.rsplit("/", 1)[-1]) not in seen:
                seen[name] = schemas.get(name)
                named(seen[name], seen)
            for each in value.values():
                named(each, seen)
        elif isinstance(value, list):
            for each in value:
                named(each, seen)
        return seen

    return {
        f"{each['method']} {each['path']}": {
            part: (each.get(part), named(each.get(part), {})) for part in ("params", "body", "responses", "deprecated")
        }
        for each in contract["operations"]
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """One line for each operation that was added (+), removed (-) or changed (~, and in what)."""
    before, after = meaning(old), meaning(new)
    lines = [f"+ {each}  action unknown" for each in after if each not in before]
    lines += [f"- {each}" for each in before if each not in after]
    for each in after:
        if each in before and (parts := [part for part in after[each] if after[each][part] != before[each][part]]):
            lines.append(f"~ {each}  {', '.join(parts)}")
    return lines


def main(arguments: list[str]) -> int:
    sources = [each for each in arguments if not each.startswith("-")]
    if len(sources) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    old = json.loads(CONTRACT.read_text(encoding="utf-8"))
    try:
        new = convert(fetch(sources[0]), old)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, httpx.HTTPError) as error:
        print(f"no OpenAPI document at {sources[0]}: {error!r}", file=sys.stderr)
        return 1
    lines = differences(old, new)
    print(f"WAHA {old['waha']} -> {new['waha']}: {len(lines) or 'no'} differences")
    print("\n".join(lines))
    if "--dry-run" not in arguments:
        CONTRACT.write_text(json.dumps(new, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
