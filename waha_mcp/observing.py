"""Hooks for a server's metrics. By default nobody listens, at the cost of an empty call."""

from __future__ import annotations


class Observer:
    """Notified of calls and requests to WAHA as they end. Methods may be called from any thread; they must not block."""

    def called(self, tool: str, outcome: str) -> None:
        """A call has ended. `tool` is the client's word; `outcome` as in the trail."""

    def refused(self, reason: str) -> None:
        """A call was refused. `reason`: one of `policy.Why`, or why it did not come as far as the policy."""

    def asked(self, operation: str, status: int | None, seconds: float) -> None:
        """WAHA was asked, as its contract names the operation. `status`: of HTTP; None: no answer began."""


#: Whom nobody asked to listen.
NOBODY = Observer()
