"""The program `waha-mcp`, and `python -m waha_mcp`.

A server whose opening is prepared answers it before anything heavy is imported.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress

from waha_mcp.server.prepared import Prepared
from waha_mcp.server.sdk import import_lazily
from waha_mcp.server.wire import Wire

#: Seconds that the client may take to open. The imports wait for it, as they would delay the answers.
PATIENCE = 0.15


#: Options of the program itself; any other leading option belongs to `serve`.
_OWN_OPTIONS = ("-h", "--help", "--version", "--install-completion", "--show-completion")


def main() -> None:
    """Run the command line and exit. Without a command it is `serve`."""
    try:
        _run(sys.argv[1:])
    except KeyboardInterrupt:  # while it is imported
        sys.exit(130)


def _run(arguments: list[str]) -> None:
    completing = "_WAHA_MCP_COMPLETE" in os.environ
    if not completing and (
        not arguments or (arguments[0].startswith("-") and arguments[0].partition("=")[0] not in _OWN_OPTIONS)
    ):
        arguments = ["serve", *arguments]
    prepared = wire = None
    if arguments[:1] == ["serve"]:
        with suppress(OSError):  # the working folder is gone, of which the command tells
            prepared = Prepared(arguments)
        if prepared and prepared.openings and sys.stdin is not None and sys.stdout is not None:
            wire = Wire(prepared)
            wire.wait_for_opening(PATIENCE)
        # Garbage collection during the imports finds nothing and takes a tenth of the start-up.
        gc.disable()
        import_lazily()
    from waha_mcp.cli import main as run

    run(arguments, prepared, wire)


if __name__ == "__main__":
    main()
