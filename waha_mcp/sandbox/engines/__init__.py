"""The engines whose answers the sandbox imitates."""

from waha_mcp.sandbox.engines.base import Engine
from waha_mcp.sandbox.engines.gows import Gows
from waha_mcp.sandbox.engines.noweb import Noweb
from waha_mcp.sandbox.engines.webjs import Webjs
from waha_mcp.sandbox.engines.wpp import Wpp

ENGINES: dict[str, type[Engine]] = {"gows": Gows, "noweb": Noweb, "webjs": Webjs, "wpp": Wpp}

__all__ = ["ENGINES", "Engine"]
