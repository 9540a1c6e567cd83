"""The mapping of operations to handler functions, and the handlers' argument."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from waha_mcp.sandbox.answers import http_error
from waha_mcp.sandbox.contract import Operation

if TYPE_CHECKING:
    from starlette.requests import Request

    from waha_mcp.sandbox.account import Account
    from waha_mcp.sandbox.engines import Engine
    from waha_mcp.sandbox.happenings import Happening
    from waha_mcp.sandbox.key_ring import Key
    from waha_mcp.sandbox.state import Sandbox, Session


@dataclass(slots=True)
class Call:
    """One request that passed the guard and the checks.

    `query` holds converted values (numbers, booleans, lists) with WAHA's defaults; `body` is the parsed JSON.
    """

    sandbox: Sandbox
    operation: Operation
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Any
    key: Key
    request: Request
    current: Session | None = None

    @property
    def session(self) -> Session:
        assert self.current is not None, f"{self.operation.id} has no session"
        return self.current

    @property
    def account(self) -> Account:
        account = self.session.account
        if account is None:
            raise http_error(422, "The session is not paired")
        return account

    def emit(self, happening: Happening) -> None:
        """Report the effect of this request to the session's listeners."""
        self.sandbox.emit(self.session, happening)

    @property
    def engine(self) -> Engine:
        return self.sandbox.engine

    @property
    def wants_json(self) -> bool:
        """Whether files are sent as JSON: only if Accept says exactly that."""
        return self.request.headers.get("accept") == "application/json"


#: A handler returns what WAHA would serialise: JSON, None for an empty body, bare text, or a whole response.
T = TypeVar("T")
Handler = Callable[[Call], Any]
HANDLERS: dict[str, Handler] = {}


def handles(*operation_ids: str) -> Callable[[Handler], Handler]:
    """Register a function as the answer to operations, by their ids in the contract."""

    def register(handler: Handler) -> Handler:
        for operation_id in operation_ids:
            assert operation_id not in HANDLERS, f"{operation_id} is handled twice"
            HANDLERS[operation_id] = handler
        return handler

    return register


def paged(items: list[T], query: Mapping[str, Any]) -> list[T]:
    """One page by `limit` and `offset`; without a limit, or with a negative one, all rows."""
    offset = int(query.get("offset") or 0)
    limit = query.get("limit")
    return items[offset:] if limit is None or limit < 0 else items[offset : offset + int(limit)]
