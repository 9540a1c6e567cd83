"""Imports only as much of the MCP SDK as a server over stdio needs: all of it takes most of a second and 20 MB."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Packages whose `__init__` imports what a server does not use: clients, another server, an HTTP stack of their own.
_PUT_OFF = ("mcp", "mcp.server", "mcp.client")


def import_lazily() -> None:
    """Run each of these packages' `__init__` when an attribute is used that only it has, and not before.

    Their modules are imported as always. Models are built by pydantic when they are first used.
    """
    from pydantic import BaseModel

    BaseModel.model_config["defer_build"] = True
    for name in _PUT_OFF:
        if name not in sys.modules:
            _put_off(name)


@contextmanager
def without_uvicorn() -> Iterator[None]:
    """Import as if uvicorn were missing: the SDK's HTTP transport uses it only if it is installed."""
    if "uvicorn.main" in sys.modules:
        yield
        return
    sys.modules["uvicorn.main"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["uvicorn.main"]


def _put_off(name: str) -> None:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        return
    module, loader = importlib.util.module_from_spec(spec), spec.loader

    def load(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        vars(module).pop("__getattr__", None)
        loader.exec_module(module)
        return getattr(module, attribute)

    vars(module)["__getattr__"] = load
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
