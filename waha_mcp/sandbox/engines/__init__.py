"""The engines whose answers and events the sandbox imitates."""

from waha_mcp.sandbox.engines.base import Engine
from waha_mcp.sandbox.engines.browser_wording import WebjsWording, WppWording
from waha_mcp.sandbox.engines.event_wording import Wording
from waha_mcp.sandbox.engines.gows import Gows
from waha_mcp.sandbox.engines.noweb import Noweb
from waha_mcp.sandbox.engines.sockets_wording import GowsWording, NowebWording
from waha_mcp.sandbox.engines.webjs import Webjs
from waha_mcp.sandbox.engines.wpp import Wpp

ENGINES: dict[str, tuple[type[Engine], type[Wording]]] = {
    "gows": (Gows, GowsWording),
    "noweb": (Noweb, NowebWording),
    "webjs": (Webjs, WebjsWording),
    "wpp": (Wpp, WppWording),
}

__all__ = ["ENGINES", "Engine", "Wording"]
