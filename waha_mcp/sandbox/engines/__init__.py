"""The two engines whose answers the sandbox imitates."""

from waha_mcp.sandbox.engines.base import Engine
from waha_mcp.sandbox.engines.gows import Gows
from waha_mcp.sandbox.engines.noweb import Noweb

ENGINES: dict[str, type[Engine]] = {"gows": Gows, "noweb": Noweb}

__all__ = ["ENGINES", "Engine"]
