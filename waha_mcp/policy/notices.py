"""Notifies somebody that a question waits: runs a command or posts to a URL, without delaying the call."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime

import anyio
import httpx

from waha_mcp.app.policy_fields import Notify
from waha_mcp.log import without_secrets
from waha_mcp.policy.approval import Entry
from waha_mcp.policy.question import clock
from waha_mcp.store import Count, Full, Limit, Store, StoreAway

logger = logging.getLogger(__name__)

#: Seconds for which a command or request may run.
LONGEST = 10.0
#: Most notices of one App, so that an agent cannot bury a person in them.
MOST = Limit(10, 60.0)
#: Most characters of the question's first line in a notice.
MOST_TEXT = 200
#: Desktop notifications may read markup, and names are chosen by others.
_NO_MARKUP = str.maketrans({"<": "‹", ">": "›", "&": "+"})


class Notices:
    """The notices of one App."""

    def __init__(self, app_id: str, notify: Notify | None, store: Store) -> None:
        self._app_id, self._notify, self._store = app_id, notify, store

    def send(self, entry: Entry) -> None:
        """Start a notice that a question waits, in a separate thread. Failures are logged. Blocks on the store."""
        if self._notify is None:
            return
        try:
            self._store.take([Count(f"notice/{self._app_id}", (MOST,))])
        except (Full, StoreAway) as error:
            logger.warning("No notice of a question that waits: %s", error)
            return
        # Not a daemon: a command that ends at once, such as `waha-mcp call`, ends when the notice is out.
        threading.Thread(target=self._send, args=(self._notify, entry), name="notice").start()

    def _send(self, notify: Notify, entry: Entry) -> None:
        try:
            if notify.command is not None:
                _run([*notify.command, summary(entry)])
            elif notify.url is not None:
                anyio.run(_post, notify.url.get_secret_value(), entry)
        except Exception as error:  # whatever it is, the call goes on; its text may hold the URL
            logger.warning("No notice of a question that waits: %s", type(error).__name__)


def summary(entry: Entry) -> str:
    """A question on one line: `Send a text to Maya (+1 ...)? App a, id 3f9a..., good until 14:32 (UTC+02:00)`."""
    head = entry.question.head().text
    head = head if len(head) <= MOST_TEXT else f"{head[: MOST_TEXT - 1]}…"
    return f"{head} App {entry.question.app}, id {entry.id}, good until {clock(entry.expires)}".translate(_NO_MARKUP)


def _run(words: list[str]) -> None:
    """Run a command without a shell, without our secrets, and apart from our streams."""
    env = without_secrets(os.environ)
    nothing = subprocess.DEVNULL
    process = subprocess.Popen(  # noqa: S603 - the user's own words, without a shell
        words, env=env, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True
    )
    try:
        code = process.wait(LONGEST)
    except subprocess.TimeoutExpired:
        _kill(process)
        logger.warning("The notify command took more than %.0f s and was ended", LONGEST)
        return
    if code:
        logger.warning("The notify command ended with %d", code)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process, and on POSIX those that it has started."""
    with contextlib.suppress(ProcessLookupError):
        if sys.platform != "win32":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


async def _post(url: str, entry: Entry) -> None:
    told = {
        "app": entry.question.app,
        "id": entry.id,
        "title": entry.question.title,
        "expires": datetime.fromtimestamp(entry.expires, UTC).isoformat(timespec="seconds"),
    }
    with anyio.fail_after(LONGEST):
        # The answer's body is not read: its status is all that counts.
        async with (
            httpx.AsyncClient(timeout=LONGEST, follow_redirects=False) as http,
            http.stream("POST", url, json=told) as answer,
        ):
            if not answer.is_success:
                logger.warning("The notify URL answered %d", answer.status_code)
