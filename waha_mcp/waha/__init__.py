"""Access to WAHA: HTTP client, errors, and parsing of its answers. The only room that speaks HTTP to WAHA."""

import sys

# If rich and click are installed, importing httpx also loads its command line, which doubles the import time. None in
# sys.modules raises the ImportError that httpx expects where they are missing.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
