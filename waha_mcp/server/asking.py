"""Asking the person at the client: by a request in the older protocol era, by an extra round trip in the newer one."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any

import anyio
from mcp import types
from mcp.server.context import ServerRequestContext
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from waha_mcp.policy import Ask
from waha_mcp.policy.approval import LIFETIME, Question

#: The name of our one question within a round trip.
_KEY = "approval"
#: Round trips that may be open at once.
_MOST_OPEN = 100

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"approve": {"type": "boolean", "title": "Yes, do exactly this"}},
    "required": ["approve"],
}


class InputNeeded(Exception):
    """The call ends here and comes again with the person's answer. Nothing was done."""

    def __init__(self, result: types.InputRequiredResult) -> None:
        super().__init__("a person has to answer first")
        self.result = result


@dataclass(frozen=True)
class _Open:
    digest: str
    expires: float


class Asking:
    """Puts questions to the person at one client.

    An answer counts for the very question that was asked: what was asked is remembered here under a random state,
    which is good once. What the client sends along proves nothing else.
    """

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}

    def asker(self, ctx: ServerRequestContext[Any, Any], params: types.CallToolRequestParams) -> Ask:
        """What asks for one call: True or False as the person answers, None where the client cannot ask."""

        async def ask(question: Question) -> bool | None:
            if not _can_ask(ctx):
                return None
            if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
                return self._round_trip(params, question)
            with anyio.move_on_after(LIFETIME):
                return _approves(await ctx.session.elicit_form(question.text(), _SCHEMA, ctx.request_id))
            return False

        return ask

    def _round_trip(self, params: types.CallToolRequestParams, question: Question) -> bool:
        asked = self._open.pop(params.request_state, None) if params.request_state else None
        answer = (params.input_responses or {}).get(_KEY)
        # An answer to another question than this one is no answer; ask anew.
        if asked and asked.expires > time.monotonic() and answer is not None and asked.digest == question.digest:
            return isinstance(answer, types.ElicitResult) and _approves(answer)
        raise InputNeeded(self._request(question))

    def _request(self, question: Question) -> types.InputRequiredResult:
        now = time.monotonic()
        self._open = {state: each for state, each in self._open.items() if each.expires > now}
        while len(self._open) >= _MOST_OPEN:
            del self._open[next(iter(self._open))]
        state = secrets.token_urlsafe(24)
        self._open[state] = _Open(question.digest, now + LIFETIME)
        request = types.ElicitRequest(
            params=types.ElicitRequestFormParams(message=question.text(), requested_schema=_SCHEMA)
        )
        return types.InputRequiredResult(input_requests={_KEY: request}, request_state=state)


def _can_ask(ctx: ServerRequestContext[Any, Any]) -> bool:
    capabilities = ctx.session.client_capabilities
    elicitation = capabilities.elicitation if capabilities else None
    # A client that names no mode means forms; one that names only URLs cannot show ours.
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


def _approves(answer: types.ElicitResult) -> bool:
    return answer.action == "accept" and (answer.content or {}).get("approve") is True
