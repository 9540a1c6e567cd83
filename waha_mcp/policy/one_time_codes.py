"""One-time codes: somebody who can run a command on the server types its output into a page, to prove access to an App.

A code is for one App and one purpose; it works once, within `LIFETIME` seconds, and a newer one for the same App and
purpose replaces it. The store holds only its digest. Wrong codes are counted in the store, so for all replicas
together: with 60 bits to guess, the limits leave no chance. All functions block and may raise StoreAway.
"""

from __future__ import annotations

import hmac
import json
import secrets
from typing import Literal

from waha_mcp.digests import digest
from waha_mcp.store import Count, Limit, Store, put

#: What a code opens: the consent of OAuth, or the console on a server.
Purpose = Literal["oauth", "console"]

#: Seconds for which a code is valid.
LIFETIME = 600.0
#: Most wrong codes, from one address and in all. An attacker with a hundred addresses locks everybody out, and still
#: has no chance: 2,000 of 2^60 are one in 10^14.
WRONG_FROM_ONE, WRONG = Limit(20, 600.0), Limit(2_000, 600.0)

#: Keys are `<purpose>/<App id>`.
_TABLE = "one_time_code"
#: Digits and letters without I, L, O and U, which are misread; and what they are read as all the same.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_READ_AS = str.maketrans("OIL", "011")
_LENGTH, _GROUP = 12, 4


def issue(store: Store, purpose: Purpose, app_id: str) -> str:
    """A new code for an App, in groups, such as `K7F2-M9QX-WT3B`."""
    code = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    row = json.dumps({"app": app_id, "digest": _digest(purpose, code)})
    put(store, _TABLE, f"{purpose}/{app_id}", row, expires=store.now() + LIFETIME)
    return "-".join(code[at : at + _GROUP] for at in range(0, _LENGTH, _GROUP))


def redeem(store: Store, purpose: Purpose, text: str, address: str) -> str | None:
    """Consume the code typed at an address; return the id of its App, or None if it is not valid.

    Raises:
        Full: too many wrong ones were typed recently. The code was not checked.
    """
    # Counted before it is checked, so that concurrent attempts stay within the limits.
    tried = store.take(
        [
            Count(f"{_TABLE}/{purpose}/{address}", (WRONG_FROM_ONE,)),
            Count(f"{_TABLE}/{purpose}", (WRONG,)),
        ]
    )
    typed, found = _digest(purpose, _plain(text)), None
    for row in store.rows(_TABLE, f"{purpose}/"):
        kept = json.loads(row.value)
        if hmac.compare_digest(kept["digest"], typed):
            found = row, str(kept["app"])
    if found is None or not store.swap(_TABLE, found[0].key, found[0].value, None):
        return None
    store.give_back(tried)
    return found[1]


def _plain(text: str) -> str:
    """The typed text without blanks and dashes, in the letters of a code."""
    return "".join(filter(str.isalnum, text)).upper().translate(_READ_AS)


def _digest(purpose: Purpose, code: str) -> str:
    return digest(f"{purpose}:{code}")
