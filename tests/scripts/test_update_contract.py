"""The maintainer's command for a new WAHA: its OpenAPI document becomes the contract, and differences are printed."""

from __future__ import annotations

import copy
import json
import runpy
import subprocess
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "update_contract.py"
CONTRACT: dict[str, Any] = json.loads(files("waha_mcp.sandbox").joinpath("contract.json").read_text("utf-8"))


def openapi(contract: Mapping[str, Any]) -> dict[str, Any]:
    """An OpenAPI document as WAHA publishes it, with the prose that the contract leaves out."""
    contract = copy.deepcopy(contract)
    paths: dict[str, Any] = {}
    for each in contract["operations"]:
        raw: dict[str, Any] = {
            "operationId": each["id"],
            "summary": "Words",
            "tags": ["Area"],
            "parameters": [{**param, "description": "More words", "example": 1} for param in each["params"]],
            "responses": {
                status: {"description": "", "content": {kind: {"schema": body} for kind, body in answer.items()}}
                for status, answer in each["responses"].items()
            },
        }
        if each["body"]:
            content = {kind: {"schema": body} for kind, body in each["body"]["content"].items()}
            raw["requestBody"] = {"required": each["body"]["required"], "content": content}
        if each.get("deprecated"):
            raw["deprecated"] = True
        paths.setdefault(each["path"], {})[each["method"].lower()] = raw
    schemas = {name: {**value, "description": "Words", "example": {}} for name, value in contract["schemas"].items()}
    return {"info": {"version": contract["waha"]}, "paths": paths, "components": {"schemas": schemas}}


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def by_name(contract: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{each['method']} {each['path']}": each for each in contract["operations"]}


def test_the_document_of_the_same_waha_gives_the_same_contract(script: dict[str, Any]) -> None:
    again = script["convert"](openapi(CONTRACT), CONTRACT)
    assert by_name(again) == by_name(CONTRACT)
    assert again["schemas"] == CONTRACT["schemas"]
    assert script["differences"](CONTRACT, again) == []


def test_what_appeared_changed_and_went_is_told_and_a_new_operation_has_no_known_action(
    script: dict[str, Any], tmp_path: Path
) -> None:
    document = openapi(CONTRACT)
    document["info"]["version"] = "2027.1.1"
    del document["paths"]["/api/{session}/presence"]["post"]
    document["paths"]["/api/{session}/moods"] = {
        "put": {
            "operationId": "MoodController_set",
            "parameters": [{"name": "session", "in": "path", "required": True, "schema": {"type": "string"}}],
            "responses": {"200": {"description": ""}},
        }
    }
    document["components"]["schemas"]["LabelBody"]["properties"]["emoji"] = {"type": "string", "example": "🏷"}
    new = script["convert"](document, CONTRACT)
    added = by_name(new)["PUT /api/{session}/moods"]
    assert (added["action"], added["session_from"]) == ("unknown", "path")
    told = [
        "+ PUT /api/{session}/moods  action unknown",
        "- POST /api/{session}/presence",
        "~ POST /api/{session}/labels  body",
        "~ PUT /api/{session}/labels/{labelId}  body",
    ]
    assert script["differences"](CONTRACT, new) == told
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(file), "--dry-run"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.splitlines() == [f"WAHA {CONTRACT['waha']} -> 2027.1.1: 4 differences", *told]


@pytest.mark.parametrize("content", ["<html>", "[]", '{"openapi": "3.0.0"}'])
def test_what_is_no_openapi_document_changes_nothing_and_is_said_in_one_line(content: str, tmp_path: Path) -> None:
    file = tmp_path / "openapi.json"
    file.write_text(content, encoding="utf-8")
    done = subprocess.run([sys.executable, str(SCRIPT), str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert json.loads(files("waha_mcp.sandbox").joinpath("contract.json").read_text("utf-8")) == CONTRACT
