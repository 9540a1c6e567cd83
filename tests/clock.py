"""A fixed clock for processes whose answers are compared or drawn, since they contain days, years and offsets."""

from __future__ import annotations

#: Python lines that set a process's clock, before it imports anything, to a Thursday afternoon, an hour ahead of UTC.
CLOCK = """
import datetime, time
_time, _ahead = time.time, 1795710000 - time.time()
time.time = lambda: _time() + _ahead
class _Fixed(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)
datetime.datetime = _Fixed
"""
ZONE = {"TZ": "CET-1"}
