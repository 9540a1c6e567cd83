"""What bounds a walk through messages, whatever it reads them from."""

from __future__ import annotations

import time


class Budget:
    """Requests and seconds of one call. Every request is counted here, retries too."""

    def __init__(self, requests: int, seconds: float) -> None:
        self.most = requests
        self.requests = 0
        self._until = time.monotonic() + seconds

    @property
    def spent(self) -> bool:
        """Whether no further request may be made. The first one always may, so that each call gets on."""
        return self.requests >= self.most or (self.requests > 0 and time.monotonic() > self._until)

    def spend(self) -> None:
        """Count one request.

        Raises:
            Spent: there is none left.
        """
        if self.spent:
            raise Spent
        self.requests += 1


class Spent(Exception):
    """The budget is used up."""
