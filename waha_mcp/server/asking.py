"""Elicitation: asks the person at the client, by a request (older protocol era) or an input-required result (newer)."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio
import mcp.types as types
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from waha_mcp.app.definition import App
from waha_mcp.digests import digest
from waha_mcp.policy import Ask, Asked
from waha_mcp.policy.question import Question
from waha_mcp.store import Store, in_thread

logger = logging.getLogger(__name__)

#: The key of the question in `input_requests` and `input_responses`.
_KEY = "approval"
#: The store's table of the newer era's open questions: App, key and state (digests), to the question's digest.
_TABLE = "asked"
#: Questions of one App that may be open at its clients at once; one more is asked at the console.
_MOST_OPEN = 20

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"approve": {"type": "boolean", "title": "Yes, do exactly this"}},
    "required": ["approve"],
}


class InputNeeded(Asked):
    """The call returns a question as `result`; the client repeats it with the answer. Nothing was done."""

    def __init__(self, result: types.InputRequiredResult) -> None:
        self.result = result


class Asking:
    """Asks the people at the clients of one bridge.

    In the newer era an open question stands in the store under a random request state, so that any process can take
    the answer. The client returns the state with it; it is valid once, and only for its own question, App and key;
    nothing else that the client sends is trusted.
    """

    def __init__(self, app: App, store: Callable[[], Store]) -> None:
        """`store` is called with the first question: the policy, which holds it, is loaded late."""
        self._whose, self._store = f"{app.identity}/", store
        #: Questions that wait over connections of the older era.
        self._waiting = 0

    def asker(self, ctx: ServerRequestContext[Any, Any], params: types.CallToolRequestParams) -> Ask:
        """The `Ask` for one call. In the newer era it raises InputNeeded if there is no answer yet.

        It returns None if the client cannot ask, has `_MOST_OPEN` questions open, cancels, fails, times out, or answers
        neither yes nor no. It raises StoreAway.
        """

        async def ask(question: Question) -> bool | None:
            if not _can_ask(ctx):
                return None
            if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
                return await self._round_trip(params, question)
            if self._waiting >= _MOST_OPEN:
                return None
            self._waiting += 1
            try:
                with anyio.move_on_after(question.expires - self._store().now()):
                    return _verdict(await ctx.session.elicit_form(question.text(), _SCHEMA, ctx.request_id))
            except Exception as error:  # an error, an invalid answer or a closed client: nobody was asked
                logger.info("The client did not ask: %s", type(error).__name__)
            finally:
                self._waiting -= 1
            return None

        return ask

    async def _round_trip(self, params: types.CallToolRequestParams, question: Question) -> bool | None:
        state = params.request_state
        asked = await in_thread(self._closed, state) if state else None
        answer = (params.input_responses or {}).get(_KEY)
        # An answer to another question does not count; ask again.
        if asked == question.digest and answer is not None:
            return _verdict(answer) if isinstance(answer, types.ElicitResult) else None
        state = await in_thread(self._opened, question)
        if state is None:
            return None
        request = types.ElicitRequest(
            params=types.ElicitRequestFormParams(message=question.text(), requested_schema=_SCHEMA)
        )
        raise InputNeeded(types.InputRequiredResult(input_requests={_KEY: request}, request_state=state))

    def _opened(self, question: Question) -> str | None:
        """Open a question and return its state; None if `_MOST_OPEN` are open."""
        store = self._store()
        if len(store.rows(_TABLE, self._whose)) >= _MOST_OPEN:
            return None
        state = secrets.token_urlsafe(24)
        kept = store.swap(_TABLE, self._whose + digest(state), None, question.digest, expires=question.expires)
        return state if kept else None

    def _closed(self, state: str) -> str | None:
        """Close the question with this state and return its digest; None if none was open."""
        store, key = self._store(), self._whose + digest(state)
        asked = store.get(_TABLE, key)
        return asked if asked is not None and store.swap(_TABLE, key, asked, None) else None


async def read_answer(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Middleware that normalizes the client's answer to `{"approve": True, False or None}`.

    Otherwise a malformed answer would make the whole call invalid.
    """
    if ctx.method == "tools/call" and ctx.params:
        params = dict(ctx.params)
        responses, state = params.pop("inputResponses", None), params.pop("requestState", None)
        if responses is not None:
            verdict = _read(responses.get(_KEY) if isinstance(responses, dict) else None)
            params["inputResponses"] = {_KEY: {"action": "accept", "content": {"approve": verdict}}}
        if isinstance(state, str):
            params["requestState"] = state
        ctx = replace(ctx, params=params)
    return await call_next(ctx)


def _can_ask(ctx: ServerRequestContext[Any, Any]) -> bool:
    capabilities = ctx.session.client_capabilities
    elicitation = capabilities.elicitation if capabilities else None
    # A client that declares no mode supports forms; one that declares only URL mode cannot show ours.
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


def _read(raw: Any) -> bool | None:
    """Parse the client's answer: True, False, or None if it is malformed or no answer."""
    try:
        return _verdict(types.ElicitResult.model_validate(raw, by_name=False))
    except ValidationError:
        return None


def _verdict(answer: types.ElicitResult) -> bool | None:
    """True, False or None. "cancel" is None, since hosts without a person send it by themselves."""
    if answer.action == "decline":
        return False
    approve = (answer.content or {}).get("approve") if answer.action == "accept" else None
    return approve if isinstance(approve, bool) else None
