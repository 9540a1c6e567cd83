"""The mutants that scripts/mutants.py makes, and what its worker does with one."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import json
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from textwrap import dedent
from types import FunctionType, ModuleType
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its module up.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


mutants: Any = loaded("mutants")
reaching: Any = loaded("mutants_reached")
worker: Any = loaded("mutants_worker")


def changes(source: str) -> list[tuple[str, str]]:
    """(operator, changed source) of every mutant."""
    raw = dedent(source).strip().encode()
    return [(each.id.split(":")[2], each.applied(raw).decode()) for each in mutants.mutants_of("x.py", raw)]


def inside(line: str) -> dict[str, list[str]]:
    """The changed lines of a function `f` with this one line, by operator."""
    found: dict[str, list[str]] = {}
    for operator, changed in changes(f"def f(a, b, c):\n    {line}"):
        found.setdefault(operator, []).append(changed.partition("\n    ")[2])
    return found


@pytest.mark.parametrize(
    ("line", "operator", "expected"),
    [
        ("if a: return b", "guard-never", ["if ((a) and False): return b"]),
        ("if a: return b", "guard-always", ["if ((a) or True): return b"]),
        ("if (m := a): return m", "guard-never", ["if (((m := a) and False)): return m"]),
        ("return b if a else c", "choice-never", ["return b if ((a) and False) else c"]),
        ("return [x for x in a if x.good]", "filter-dropped", ["return [x for x in a if ((x.good) or True)]"]),
        ("return a and b and c", "operand-removed",
         ["return ((b) and (c))", "return ((a) and (c))", "return ((a) and (b))"]),
        ("return a | b", "operand-removed", ["return (a)", "return (b)"]),
        ("return a - b", "operand-removed", ["return (a)"]),
        ("return not a", "not-removed", ["return (a)"]),
        ("return a < b", "compare", ["return a <= b", "return a >= b"]),
        ("return a not in b", "compare", ["return a in b"]),
        ("return a is not b", "compare", ["return a is b"]),
        ("return a == b != c", "compare", ["return a != b != c", "return a == b == c"]),
        ("return (a) == (b)", "compare", ["return (a) != (b)"]),
        ("return len(a) == 1", "bound", ["return len(a) == 2"]),
        ("return a in (b, c)", "element-removed", ["return a in (c,)", "return a in (b,)"]),
        ("return isinstance(a, (b, c))", "element-removed",
         ["return isinstance(a, (c,))", "return isinstance(a, (b,))"]),
        ("return any(a)", "swapped", ["return all(a)"]),
        ("raise ValueError(a)", "raise-removed", ["pass"]),
        ("return False", "return-flipped", ["return True"]),
        ("a.undo(b)", "call-removed", ["pass"]),
        ("a.held = b", "state-dropped", ["pass"]),
        ("a.count += 1", "state-dropped", ["pass"]),
        ("del a[b]", "state-dropped", ["pass"]),
        ("a.ask(ours=False)", "flag", ["a.ask(ours=True)"]),
        ("for x in a: continue", "continue-dropped", ["for x in a: pass"]),
        ("for x in a: break", "break-dropped", ["for x in a: pass"]),
    ],
)  # fmt: skip
def test_each_operator_changes_what_it_is_named_for(line: str, operator: str, expected: list[str]) -> None:
    assert inside(line)[operator] == expected


def test_an_except_clause_is_dropped_and_narrowed() -> None:
    found = changes("""
        def f():
            try:
                work()
            except (OSError, ValueError):
                return None
    """)
    assert [(kind, text.splitlines()[3].strip()) for kind, text in found if kind.startswith("except")] == [
        ("except-dropped", "except ():"),
        ("except-narrowed", "except (ValueError,):"),
        ("except-narrowed", "except (OSError,):"),
    ]


def test_an_awaited_statement_is_removed_whole() -> None:
    assert ("call-removed", "async def f(a):\n    pass") in changes(
        "async def f(a):\n    await a.send(\n        1,\n    )"
    )


@pytest.mark.parametrize(
    ("returns", "value", "others"),
    [
        ("bool | None", "None", ["True", "False"]),
        ("bool | None", "True", ["False", "None"]),
        ("str | None", "None", []),
    ],
)
def test_a_closed_answer_is_opened_where_the_type_has_another(returns: str, value: str, others: list[str]) -> None:
    found = changes(f"def f() -> {returns}:\n    return {value}")
    assert found == [("return-flipped", f"def f() -> {returns}:\n    return {other}") for other in others]


def test_limits_and_defaults_get_other_values() -> None:
    source = "LIMIT = 5 * 1024\nONLY = {1, 2}\nclass C:\n    on: bool = False\ndef f(a=True, *, b=3): ..."
    lines = source.splitlines()
    found = [
        (kind, next(new for old, new in zip(lines, text.splitlines(), strict=True) if old != new))
        for kind, text in changes(source)
    ]
    assert found == [
        ("constant", "LIMIT = (5 * 1024) * 10"),
        ("constant", "LIMIT = 0"),
        ("element-removed", "ONLY = {2}"),
        ("element-removed", "ONLY = {1}"),
        ("constant", "    on: bool = True"),
        ("default", "def f(a=False, *, b=3): ..."),
        ("default", "def f(a=True, *, b=(3) * 10): ..."),
        ("default", "def f(a=True, *, b=0): ..."),
    ]


@pytest.mark.parametrize(
    "line",
    [
        '"""Words."""',
        'logger.warning("odd: %s", a)',
        "assert a",
        'raise',
        'return f"{a and b}"',
        "a: int | None",
        "from a import b",
    ],
)  # fmt: skip
def test_wording_annotations_and_logging_are_left_alone(line: str) -> None:
    assert inside(line).keys() <= {"raise-removed"}


def test_ids_stay_when_lines_move_and_other_functions_change() -> None:
    source = "def f(a):\n    return a == 1\n\nclass C:\n    def g(self, a):\n        return a < 2 < 3\n"
    before = [each.id for each in mutants.mutants_of("x.py", source.encode())]
    moved = '"""Words."""\n\ndef new(a):\n    return not a\n\n' + source
    after = [each.id for each in mutants.mutants_of("x.py", moved.encode())]
    assert [each for each in after if ":new:" not in each] == before
    assert before[:2] == ["x.py:f:compare:1", "x.py:f:bound:1"]
    assert "x.py:C.g:compare:4" in before


@pytest.mark.slow
def test_every_mutant_of_the_rooms_parses_differs_and_has_an_id_of_its_own() -> None:
    ids = set()
    for file in mutants.files():
        source = (mutants.PACKAGE / file).read_bytes()
        for each in mutants.mutants_of(file, source):
            changed = each.applied(source)
            assert changed != source, each.id
            ast.parse(changed, file)
            assert each.id not in ids
            ids.add(each.id)
    assert len(ids) > 1000


@pytest.mark.parametrize(("count", "least"), [(25, 19), (100, 82), (1, 0), (0, 0)])
def test_a_sample_fails_only_where_nine_tenths_killed_would_be_improbable(count: int, least: int) -> None:
    assert mutants.line(count, sample=True)[0] == least


@pytest.mark.parametrize(("count", "least"), [(25, 23), (100, 90), (1, 1), (0, 0)])
def test_a_whole_run_needs_nine_tenths_killed(count: int, least: int) -> None:
    assert mutants.line(count, sample=False)[0] == least


def test_the_line_is_said_with_its_reason() -> None:
    assert mutants.line(25, sample=True)[1] == (
        "At least 19 of 25 must be killed: "
        "if 90% of all mutants are, fewer of a sample come up in less than 1% of cases."
    )
    assert mutants.line(100, sample=False)[1] == "At least 90 of 100 must be killed: 90%."


def test_every_room_has_files() -> None:
    assert set(mutants.files().values()) == mutants.ROOMS.keys()


def test_every_note_is_for_a_mutant_that_there_is() -> None:
    notes = mutants.Notes.read()
    ids = [
        each.id for file in mutants.files() for each in mutants.mutants_of(file, (mutants.PACKAGE / file).read_bytes())
    ]
    for pattern, why in {**notes.equivalent, **notes.survivors}.items():
        assert any(fnmatchcase(each, pattern) for each in ids), f"no such mutant: {pattern}"
        assert len(why) > 10, pattern


def test_a_worker_copies_the_dot_files_that_tests_read_and_none_of_the_checkout_itself(tmp_path: Path) -> None:
    for name in (".git/HEAD", ".venv/x", "tests/data/home/.config/a.toml", "tests/__pycache__/a.pyc"):
        (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / name).touch()
    mutants.copy(tmp_path / "from", tmp_path / "to")
    found = {path.relative_to(tmp_path / "to").as_posix() for path in (tmp_path / "to").rglob("*") if path.is_file()}
    assert found == {"tests/data/home/.config/a.toml"}


SOURCE = """
LIMIT = 3

def early(a):
    def inner(b):
        return b == a
    return inner(1)

class C:
    def method(self):
        return LIMIT > 2
"""


def living(source: str) -> tuple[dict[str, Any], dict[tuple[str, str, int], list[FunctionType]]]:
    names: dict[str, Any] = {}
    exec(compile(source, "x.py", "exec"), names)
    functions = [names["early"], names["C"].method]
    return names, {reaching.key_of(each.__code__): [each] for each in functions}


def test_a_function_that_lives_gets_its_new_code_and_no_other_does() -> None:
    names, live = living(SOURCE)
    changed = SOURCE.replace("b == a", "b != a")
    [(function, code)] = worker.patches(SOURCE, changed, "x.py", live)
    assert (function, names["early"](1)) == (names["early"], True)
    function.__code__ = code
    assert names["early"](1) is False


@pytest.mark.parametrize("changed", [SOURCE.replace("LIMIT = 3", "LIMIT = 30"), SOURCE])
def test_what_ran_at_import_cannot_be_patched(changed: str) -> None:
    assert worker.patches(SOURCE, changed, "x.py", living(SOURCE)[1]) is None


def test_a_change_whose_function_nobody_has_seen_cannot_be_patched() -> None:
    assert worker.patches(SOURCE, SOURCE.replace("> 2", ">= 2"), "x.py", {}) is None


def test_probes_say_which_statements_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    hits: set[tuple[str, int]] = set()
    monkeypatch.setattr(builtins, reaching.Probes.HIT, hits.add, raising=False)
    source = "X = 1\ndef f(a):\n    if a:\n        return 1\n    elif X:\n        return 2\n    return 3\n"
    names: dict[str, Any] = {}
    exec(compile(reaching.Probes("x.py").visit(ast.parse(source)), "x.py", "exec"), names)
    assert hits == set()
    assert names["f"](False) == 2
    assert hits == {("x.py", 3), ("x.py", 5), ("x.py", 6)}


def test_tests_of_a_mutants_own_file_come_before_all_others_that_are_faster() -> None:
    [mutant, *_] = mutants.mutants_of("policy/gap.py", b"def f(x):\n    return x == 1\n")
    on = {"waha_mcp/policy/gap.py": [2]}
    tests = {
        "tests/server/test_http.py::test_a": [0.1, on],
        "tests/policy/test_gap.py::test_slow": [5.0, on],
        "tests/policy/test_pace.py::test_fast": [0.2, on],
        "tests/policy/test_gap.py::test_elsewhere": [0.1, {"waha_mcp/policy/gap.py": [1]}],
    }
    alone, _ = mutants.chosen(mutant, {"tests": tests, "processes": {}}, None)
    assert [each.partition("::")[2] for each in alone] == ["test_slow", "test_fast", "test_a"]


def test_survivors_meet_the_process_tests_of_their_own_files_and_of_whole_folders_if_asked() -> None:
    [mutant, *_] = mutants.mutants_of("server/http.py", b"def f(x):\n    return x == 1\n")
    processes = {
        "tests/server/test_http_hosts.py::test_slow": 19.0,
        "tests/server/test_http_hosts.py::test_slower": 30.0,
        "tests/server/test_http_hosts.py::test_too_slow": 40.0,
        "tests/server/test_stdio.py::test_b": 0.1,
        "tests/people/test_http_people.py::test_c": 0.1,
    }
    known = {"tests": {}, "processes": processes}
    own = ["test_slow", "test_slower"]
    assert [each.partition("::")[2] for each in mutants.chosen(mutant, known, None)[1]] == own
    more = mutants.chosen(mutant, known, None, processes=True)[1]
    assert [each.partition("::")[2] for each in more] == [*own, "test_b", "test_too_slow"]


def test_what_a_run_of_the_tests_has_kept_holds_for_this_code_only(tmp_path: Path) -> None:
    ours, theirs = {"tests": {"a": [0.1, {"x.py": [1]}], "b": [0.2, {}]}, "failed": ["b"]}, {"tests": {"c": [0.1, {}]}}
    (tmp_path / "gw0.json").write_text(json.dumps(ours | {"key": mutants.reached_key()}))
    (tmp_path / "gw1.json").write_text(json.dumps(theirs | {"key": "of another code", "failed": []}))
    assert mutants.kept(tmp_path) == {"a": [0.1, {"x.py": [1]}], "b": [None, {}]}
