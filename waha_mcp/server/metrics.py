"""What a server measures, for Prometheus. No label holds a chat, a name, an App or anything of a key."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from waha_mcp import __version__
from waha_mcp.bridge import EARLY
from waha_mcp.observing import Observer
from waha_mcp.policy import Why
from waha_mcp.tools.catalog import CATALOG

#: Upper bounds in seconds: from a look that WAHA answers from memory to the longest that is waited for.
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_REASONS = {*get_args(Why), *EARLY.values()}


class Metrics(Observer):
    """The metrics of one server."""

    #: Of `text`.
    content_type = CONTENT_TYPE_LATEST

    def __init__(self, bridges: Callable[[], int]) -> None:
        """`bridges` tells how many are open."""
        self._registry = registry = CollectorRegistry(auto_describe=True)
        self._calls = Counter(
            "waha_mcp_calls", "Calls of tools, by outcome as in the trail.", ("tool", "outcome"), registry=registry
        )
        self._refusals = Counter(
            "waha_mcp_refusals", "Calls that were refused, by reason as in the trail.", ("reason",), registry=registry
        )
        self._waha = Histogram(
            "waha_mcp_waha_seconds",
            "Seconds until WAHA's whole answer, by operation of its contract and class of the status.",
            ("operation", "status"),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._turned_away = Counter(
            "waha_mcp_requests_refused",
            "HTTP requests that were refused before MCP, by status.",
            ("status",),
            registry=registry,
        )
        Gauge("waha_mcp_bridges", "Open bridges: Apps at work.", registry=registry).set_function(bridges)
        Info("waha_mcp", "The version.", registry=registry).info({"version": __version__})
        ProcessCollector(registry=registry)

    def called(self, tool: str, outcome: str) -> None:
        # A value made up by a client must not become a label.
        self._calls.labels(tool if tool in CATALOG else "unknown", outcome).inc()

    def refused(self, reason: str) -> None:
        self._refusals.labels(reason if reason in _REASONS else "other").inc()

    def asked(self, operation: str, status: int | None, seconds: float) -> None:
        self._waha.labels(operation, "none" if status is None else f"{status // 100}xx").observe(seconds)

    def turned_away(self, status: int) -> None:
        """A request was refused before MCP."""
        self._turned_away.labels(str(status)).inc()

    def text(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self._registry)
