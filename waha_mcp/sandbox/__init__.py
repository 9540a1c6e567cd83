"""A WAHA in memory, over real HTTP and WebSocket on loopback: for the demo, for trying clients and for tests.

It answers as WAHA does, including the odd answers, sends events at `/ws`, and knows nothing of the bridge. The account
is made from a seed: the same seed gives the same people and messages, placed relative to the start; keys are random at
every start. Sam Okafor (12025550123@c.us) answers what is sent to him, and types before he does. Media links name
WAHA's own public address (http://waha.example.com:3000), which differs from the one that clients connect to, as behind
a reverse proxy.

Besides WAHA's routes there are these, with the admin key in `X-Api-Key` and JSON both ways:

- `POST /sandbox/faults` disturbs the next requests: {"path": prefix or glob, "method"?, "count"?: 1, "delay"?: seconds,
  "drop"?: close without an answer, "after"?: perform the request first, "late"?: perform it so many seconds later,
  even if the client has hung up by then, "status"?, "body"?: text, "headers"?, "content_type"?, "oversize"?: bytes,
  "malformed"?: cut-off JSON, "above"?: only where the query's limit is more}. `DELETE /sandbox/faults` removes all, and
  `PUT /sandbox/faults` {"faults": [...]} replaces them.
- `GET /sandbox/requests` lists the requests so far: {"time", "method", "path", "query", "headers": names,
  "key": the key's name, "operation": id, "body", "status": null when dropped,
  "performed": Unix seconds, null when WAHA did not carry out the request, "bytes": of the answer's body}.
  `DELETE /sandbox/requests` clears the list.
- `POST /sandbox/session` {"session"?, "status"} forces a session's status.
- `POST /sandbox/messages` {"chatId", "text", "from"?, "fromMe"?: from one's phone, "pushName"?, "id"?, "timestamp"?,
  "replyTo"?, "mentions"?: [ids], "forwarded"?, "mimetype"?, "data"?: base64, "filename"?, "content"?: {"kind", ...},
  "timer"?: seconds after which it disappears, "raw"?, "told"?: [0], "session"?} lets a message arrive, with a file of
  that type (a sample, unless its data are given), of that kind (such as "location", with what `Message.extra` has of
  one), and the `raw` fields in its raw data; its event comes after each of the `told` seconds: late, twice, or with []
  never. `POST /sandbox/groups` {"subject", "from", "invited"?, "session"?} lets somebody else make a group with the
  account in it, or only invited, and answers with the code of its link; `POST /sandbox/calls` {"from", "session"?}
  lets a call come.
- `POST /sandbox/events` {"kind", ..., "session"?} triggers another event. `from` is the actor, the chat's own
  person unless given; a message is named by its full or its bare id.
  "edited" {"messageId", "text"}, "revoked" {"messageId", "from"?}, "reaction" {"messageId", "reaction": "" removes
  it, "from"?}, "vote" {"messageId", "votes": [texts of options], "from"?}, "ack" {"messageId": of an own message,
  "ack": number, "from"?}, "read" {"chatId"}: by the account's owner, on the phone, "presence" {"chatId", "presence":
  "typing", "recording", "paused", or, for those who have subscribed, "online" or "offline", "from"?}, "group"
  {"chatId", "change"?: "join", "leave", "promote" or "demote", with "people": [ids], "subject"?, "description"?,
  "from"?}, "call_ended" {"callId"}.
- `POST /sandbox/script` {"lines": [...], "session"?} plays what these routes take: a line with a `kind` is an event,
  any other a message. Each comes "after" so many seconds from the line before it (0 unless given), and a message is
  typed for the last "typing" seconds before it.
- `POST /sandbox/socket` disturbs the event feed at `/ws`, and answers as `GET /sandbox/socket` does: {"drop": true}
  aborts all open sockets, {"half_open": true} lets nothing pass through them any more in either direction,
  {"ping": true} pings them now, and cuts off those that have not answered the last ping, {"garbage": n} sends so many
  frames that are no events, {"flood": n, "chatId"?} lets so many messages arrive at once, {"slow": seconds} puts so
  much time between two events, {"refuse": code} closes new sockets with this code, {"absent": true} answers an upgrade
  with 404; the last three until {"reset": true}. `GET /sandbox/socket` tells {"sockets": [{"key": its name, "session",
  "events", "answered": the last ping, "half_open"}], "slow", "refuse", "absent"}.
- `POST /sandbox/settle` lets everything that is pending (acknowledgements, an answer, delays, late work, a script, a
  slow feed) happen now, and answers when it is done.
- `POST /sandbox/reset` returns the account, the session, WAHA apps and the log to their initial state; named keys stay.
- `POST /sandbox/engine` {"has"?: [operation ids], "lacks"?: [...], "reset"?} changes what the engine implements.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

#: The chat of the person who answers messages.
ANSWERING_CHAT = "12025550123@c.us"


@dataclass(frozen=True)
class SandboxInfo:
    """The address of a running sandbox and the keys to it.

    `keys` maps `none`, `read`, `send`, `read_send` and `full` (every action, delete included) to a key of the session.
    """

    url: str
    session: str
    admin_key: str = field(repr=False)
    keys: Mapping[str, str] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """The JSON of the line that `waha-mcp sandbox --json` prints."""
        return {"url": self.url, "session": self.session, "admin_key": self.admin_key, "keys": dict(self.keys)}


@asynccontextmanager
async def running(
    *,
    port: int = 0,
    seed: int = 1,
    engine: str = "gows",
    contacts: int | None = None,
    messages: int | None = None,
    now: int | None = None,
    status_wait: float = 0.05,
    reply_after: float = 0.3,
) -> AsyncIterator[SandboxInfo]:
    """Serve a sandbox while the block runs; it accepts connections when the block starts.

    Args:
        port: of 127.0.0.1, to listen on; 0 takes a free one.
        seed: makes the account.
        engine: `gows`, `noweb`, `webjs` or `wpp`: whose style the answers have.
        contacts, messages: totals of the account; None is about 25 and 600.
        now: Unix seconds relative to which the account is dated; None is the present.
        status_wait: seconds a request waits for a session to reach the status it needs (WAHA itself: 5 to 15).
        reply_after: seconds until an answering person replies.

    Raises:
        OSError: the port is in use or cannot be bound; nothing was started.
        ValueError: an unknown engine.
    """
    # Importing Starlette and uvicorn takes a fifth of a second, which only a sandbox should pay.
    from waha_mcp.sandbox.http_server import serving
    from waha_mcp.sandbox.seed import Size
    from waha_mcp.sandbox.state import Sandbox

    sandbox = Sandbox(
        engine=engine,
        seed=seed,
        now=now,
        size=Size(contacts, messages),
        status_wait=status_wait,
        reply_after=reply_after,
    )
    async with serving(sandbox, port) as url:
        yield SandboxInfo(url, "default", sandbox.keys.admin.secret, sandbox.named_keys)


__all__ = ["ANSWERING_CHAT", "SandboxInfo", "running"]
