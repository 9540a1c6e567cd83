"""Windows has its own branch wherever it differs.

`mypy --platform win32` finds what Windows lacks, as long as the code checks `sys.platform`, which mypy understands.
Checked here is what Windows has under the same name and does differently, and what the quick tests, which run there
too, expect of it.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import waha_mcp

PACKAGE = Path(waha_mcp.__file__).parent

#: Names and keyword arguments that Windows has and treats differently.
OTHERWISE = {
    "add_reader": "Windows' event loop has none",
    "add_signal_handler": "Windows' event loop has none",
    "open_signal_receiver": "Windows' event loop has none",
    "chmod": "Windows has but a bit for what is read-only",
    "umask": "Windows has no modes",
    "geteuid": "Windows has no such number",
    "st_mode": "Windows has no modes",
    "st_uid": "Windows has no such number",
    "rename": "Windows replaces no file by it: `replace` does",
    "shlex": "a shell of Windows quotes otherwise",
    "kill": "Windows ends a process by any signal",
    "dir_fd": "Windows opens no folder",
    "pass_fds": "Windows hands no descriptors on",
    "preexec_fn": "Windows does not fork",
    "start_new_session": "Windows has no sessions of processes",
}
#: Texts with names that Windows does not have, or directives that its `strftime` rejects.
TEXTS = re.compile(r"^/(?:dev|proc|tmp|bin|etc|usr|var)/|%-[dHIjmMSy]")

#: Code that is correct on Windows as it is: the file, the name, and why.
RIGHT = {
    ("cli/agent_runs.py", "start_new_session"): "without a session, `taskkill /T` ends what was started",
    ("concurrency.py", "open_signal_receiver"): "its NotImplementedError is caught",
    ("files.py", "chmod"): "0600 and 0700 are to be written to, which is what Windows takes from it",
    ("hosts/installation.py", "rename"): "the name is a new one",
    ("hosts/installation.py", "st_mode"): "it is given to the new file, which is as read-only as the old one was",
    ("sandbox/handlers/server_routes.py", "/usr/"): "of WAHA's container",
    ("sandbox/state.py", "/usr/"): "of WAHA's container",
    ("policy/notices.py", "start_new_session"): "without a session, the process that was started is ended",
}


def asks(node: ast.AST) -> bool:
    """Whether a condition checks the platform, in a way that mypy follows."""
    return any(ast.unparse(each) == "sys.platform" for each in ast.walk(node) if isinstance(each, ast.Attribute))


def found_in(node: ast.AST) -> Iterator[str]:
    """What differs on Windows in a piece of code, except behind a check of the platform."""
    if isinstance(node, ast.If | ast.IfExp) and asks(node.test):
        return
    if isinstance(node, ast.BoolOp) and asks(node.values[0]):
        return
    match node:
        case ast.Attribute(value=ast.Name(id="os"), attr="name"):
            yield "os.name"
        case ast.Call(func=ast.Name(id="hasattr" | "getattr"), args=[ast.Name(id="os" | "signal"), *_]):
            yield ast.unparse(node)
        case ast.Call(func=ast.Attribute(attr="fromtimestamp"), args=[_], keywords=[]):
            yield "fromtimestamp without a zone"
        case ast.Attribute(attr=name) | ast.keyword(arg=str(name)) | ast.Name(id=name) if name in OTHERWISE:
            yield name
        case ast.Constant(value=str(text)) if names := TEXTS.search(text):
            yield names[0]
    for child in ast.iter_child_nodes(node):
        yield from found_in(child)


@pytest.mark.slow
def test_code_that_windows_runs_differently_checks_the_platform_or_has_a_reason() -> None:
    found = {
        (path.relative_to(PACKAGE).as_posix(), name)
        for path in PACKAGE.rglob("*.py")
        for name in found_in(tree(str(path)))
    }
    assert found == RIGHT.keys()


@pytest.mark.parametrize(
    ("code", "finds"),
    [
        ("if os.name == 'posix': pass", ["os.name"]),
        ("getattr(os, 'O_NOFOLLOW', 0)", ["getattr(os, 'O_NOFOLLOW', 0)"]),
        ("path.chmod(0o600)", ["chmod"]),
        ("if sys.platform != 'win32':\n    path.chmod(0o600)", []),
        ("a = sys.platform != 'win32' and found.st_uid != 0", []),
        ("a = shlex.join(b) if sys.platform != 'win32' else c", []),
        ("if other:\n    subprocess.Popen(a, start_new_session=True)", ["start_new_session"]),
        ("datetime.fromtimestamp(0).astimezone()", ["fromtimestamp without a zone"]),
        ("datetime.fromtimestamp(0, UTC)", []),
        ("f'{day:%-d}'", ["%-d"]),
        ("open('/dev/null')", ["/dev/"]),
    ],
)
def test_what_differs_is_found(code: str, finds: list[str]) -> None:
    assert list(found_in(ast.parse(code))) == finds


def test_quick_tests_check_modes_and_devices_on_posix_alone(
    request: pytest.FixtureRequest,
) -> None:
    wrong = {
        f"{item.nodeid}: {name}"
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.get_closest_marker("quick")
        if not item.get_closest_marker("skipif") and item.path != Path(__file__)
        for statement in body(item)
        for name in found_in(statement)
        if name in {"umask", "geteuid", "st_mode", "st_uid", "/dev/", "/proc/"}
    }
    assert not wrong


def body(item: pytest.Function) -> list[ast.stmt]:
    """The statements of a test."""
    function = inspect.unwrap(item.obj)
    code = getattr(function, "__func__", function).__code__
    [found] = [
        each
        for each in ast.walk(tree(code.co_filename))
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and code.co_name == each.name
        if code.co_firstlineno
        in range(min([each.lineno, *(one.lineno for one in each.decorator_list)]), each.lineno + 1)
    ]
    return found.body


@cache
def tree(path: str) -> ast.Module:
    return ast.parse(Path(path).read_text(encoding="utf-8"))
