"""WAHA's side: the only room that knows HTTP."""

import sys

# Where rich and click happen to be installed, importing httpx loads its command line too, which costs as much as
# httpx itself. This is the ImportError that it is prepared for.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
