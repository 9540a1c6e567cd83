"""The command line. `waha-mcp` alone serves over stdio, as registry launchers expect."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from waha_mcp import __version__
from waha_mcp.app import AppError
from waha_mcp.cli.approvals import approvals, approve
from waha_mcp.cli.apps import apps
from waha_mcp.cli.call import call
from waha_mcp.cli.common import Failure
from waha_mcp.cli.demo import demo
from waha_mcp.cli.doctor import doctor
from waha_mcp.cli.init import init
from waha_mcp.cli.install import install, uninstall
from waha_mcp.cli.log import log
from waha_mcp.cli.sandbox import sandbox
from waha_mcp.cli.serve import serve
from waha_mcp.cli.tools import tools

app = typer.Typer(
    name="waha-mcp",
    help="Give AI agents scoped, safe access to WhatsApp through WAHA. Without a command it serves over stdio.",
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (
    serve, init, doctor, install, uninstall, tools, call, approvals, approve, log, demo, sandbox,
):  # fmt: skip
    app.command()(_command)
app.add_typer(apps, name="apps")


def _show_version(value: bool) -> None:
    if value:
        print(f"waha-mcp {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None: ...


#: Options of the program itself; any other leading option belongs to `serve`.
_OWN_OPTIONS = ("-h", "--help", "--version", "--install-completion", "--show-completion")


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong use. A failure is one line on stderr."""
    arguments = sys.argv[1:]
    if not arguments or (arguments[0].startswith("-") and arguments[0].partition("=")[0] not in _OWN_OPTIONS):
        arguments = ["serve", *arguments]
    try:
        code = app(arguments, prog_name="waha-mcp", standalone_mode=False)
    except AppError as error:
        code = _fail(str(error), 2)
    except Failure as failure:
        code = _fail(str(failure), failure.code)
    except TyperException as error:
        code = _fail(f"{error.format_message()} (see waha-mcp --help)", 2)
    except BrokenPipeError:
        # Whoever read our output has left; keep the interpreter from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 1
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    sys.exit(code or 0)


def _fail(message: str, code: int) -> int:
    print(f"waha-mcp: {' '.join(message.split())}", file=sys.stderr)
    return code
