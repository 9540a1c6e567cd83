"""The inputs of an App: the files and variables that were read for it, each by its digest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import Any

from waha_mcp.digests import digest
from waha_mcp.places import definitions


def observed(files: Iterable[str], variables: Iterable[str]) -> dict[str, Any]:
    """The digests of `files` (paths) and environment `variables` as they are now, and the paths of all definitions.

    The digest of a missing or unreadable one is None. The result is JSON and contains no secret as text.
    """
    return {
        "files": {path: _digest_of_file(path) for path in files},
        "variables": {name: None if (value := os.environ.get(name)) is None else digest(value) for name in variables},
        # Another definition may make the id ambiguous.
        "definitions": [str(path) for path in definitions()],
    }


def unchanged(inputs: dict[str, Any]) -> bool:
    """Whether `observed` would return the same now."""
    return observed(inputs["files"], inputs["variables"]) == inputs


def _digest_of_file(path: str) -> str | None:
    if not os.path.isfile(path):
        return None  # a pipe would be emptied, or never end
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return None
