"""WAHA's REST API: the client, parsing, models and errors. The only package that knows HTTP towards WAHA."""

import sys

# If rich and click are installed, importing httpx also imports its command line, which doubles the import time. With
# None here, that import raises ImportError, which httpx handles.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
