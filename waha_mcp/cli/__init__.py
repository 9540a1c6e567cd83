"""The command line. `waha-mcp` without a command serves over stdio, as registry launchers expect."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from waha_mcp import __version__
from waha_mcp.app.definition import AppError
from waha_mcp.cli.common import Failure, as_typed
from waha_mcp.server.prepared import Prepared
from waha_mcp.server.wire import Wire
from waha_mcp.steps import for_person

#: The commands in the order of the help, and their modules, which are imported only if needed.
_COMMANDS = {
    "serve": "serve",
    "init": "init",
    "doctor": "doctor",
    "install": "install",
    "uninstall": "install",
    "apps": "manage_apps",
    "tools": "tools",
    "call": "call_tool",
    "listen": "listen",
    "console": "console_page",
    "approvals": "approvals",
    "approve": "approvals",
    "grant": "grant",
    "log": "show_trail",
    "pause": "pause",
    "resume": "pause",
    "forget": "forget",
    "index": "message_index",
    "store": "store_command",
    "demo": "demo",
    "sandbox": "sandbox",
}


#: What follows the first word that is no option belongs to another program.
_SETTINGS = {"listen": {"allow_interspersed_args": False}}


def command_line(commands: Iterable[str] = _COMMANDS) -> typer.Typer:
    """The Typer app with these commands."""
    program = typer.Typer(
        name="waha-mcp",
        help="Give AI agents scoped, safe access to WhatsApp through WAHA. Without a command it serves over stdio.",
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    program.callback()(_options)
    for name in commands:
        command = getattr(import_module(f"{__name__}.{_COMMANDS[name]}"), name)
        if isinstance(command, typer.Typer):
            program.add_typer(command, name=name)
        else:
            program.command(context_settings=_SETTINGS.get(name))(command)
    return program


def _show_version(value: bool) -> None:
    if value:
        print(f"waha-mcp {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None: ...


def main(arguments: list[str], prepared: Prepared | None = None, wire: Wire | None = None) -> None:
    """Run the command line and exit: 0 success, 1 failure, 2 wrong usage. A failure is one line on stderr.

    `arguments`: with the command; none where a shell asks for completions, and passes the words in the environment.
    `prepared`: where an opening of `serve` is kept; `wire`: where it is answered already.
    """
    # Without a known command, load all of them for help, errors and completion.
    commands = arguments[:1] if arguments and arguments[0] in _COMMANDS else _COMMANDS
    try:
        code = command_line(commands)(arguments, prog_name="waha-mcp", standalone_mode=False, obj=(prepared, wire))
    except AppError as error:
        code = _fail(str(error), 2)
    except Failure as failure:
        code = _fail(str(failure), failure.code)
    except TyperException as error:
        where = getattr(getattr(error, "ctx", None), "command_path", "waha-mcp")
        code = _fail(f"{error.format_message().replace('Value error, ', '')} (see {where} --help)", 2)
    except BrokenPipeError:
        # stdout was closed by its reader; avoid the interpreter's error at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 1
    except OSError as error:
        # For example a full or read-only disk.
        code = _fail(f"{error.filename or 'input or output'}: {error.strerror or type(error).__name__}", 1)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except Exception as error:
        code = _fail(f"internal error, please report this line: {_place(error)}", 70)
    sys.exit(code or 0)


def _place(error: BaseException) -> str:
    """Of an error that nobody expected, the kind and the place; its text may hold what is nobody's business."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}, waha-mcp {__version__}"


def _fail(message: str, code: int) -> int:
    print(f"waha-mcp: {as_typed(for_person(' '.join(message.split())))}", file=sys.stderr)
    return code
