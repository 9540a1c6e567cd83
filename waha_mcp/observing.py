"""What a server that measures itself is told. By default nobody listens, which costs an empty call."""

from __future__ import annotations


class Observer:
    """Told of calls and of requests to WAHA, as they end. Methods may be called from any thread, and return at once."""

    def called(self, tool: str, outcome: str) -> None:
        """A call has ended. `tool` is the client's word; `outcome` as in the trail."""

    def refused(self, reason: str) -> None:
        """A call was refused. `reason`: one of `policy.Why`, or why it did not come as far as the policy."""

    def asked(self, operation: str, status: int | None, seconds: float) -> None:
        """WAHA was asked, as its contract names the operation. `status`: of HTTP; None: no answer began."""


#: Whom nobody asked to listen.
NOBODY = Observer()
