"""No double effects: the same again within a minute is a mistake, unless the caller says that it is not."""

from __future__ import annotations

import time

#: Seconds within which the same is refused.
WINDOW = 60.0


class Repeats:
    """What was done lately, by digest."""

    def __init__(self) -> None:
        self._done: dict[str, float] = {}

    def since(self, digest: str) -> float | None:
        """Seconds since the same was last done or begun; None where that is over a minute ago."""
        began = self._done.get(digest)
        passed = None if began is None else time.monotonic() - began
        return None if passed is None or passed >= WINDOW else passed

    def begin(self, digest: str) -> None:
        """Note that it is done from now on."""
        now = time.monotonic()
        self._done = {key: began for key, began in self._done.items() if now - began < WINDOW}
        self._done[digest] = now

    def undo(self, digest: str) -> None:
        """Forget it: it certainly did not happen."""
        self._done.pop(digest, None)
