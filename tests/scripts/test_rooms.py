"""The order of the rooms: each imports only rooms below it."""

from pathlib import Path

from scripts import rooms

ROOT = Path(__file__).parents[2]
FOUND = rooms.imports(ROOT)


def test_no_room_imports_one_above_it() -> None:
    assert [str(each) for each in rooms.upward(FOUND)] == []


def test_no_rooms_import_each_other() -> None:
    assert rooms.cycles(FOUND) == []


def test_each_room_has_its_place() -> None:
    here = {rooms.room(path.relative_to(ROOT / "waha_mcp").with_suffix("").parts[0]) for path in _sources()}
    assert here == {*rooms.ORDER, "__init__", "__main__"}


def test_no_file_name_stands_twice() -> None:
    assert rooms.twice(ROOT) == {}


def test_each_import_inside_a_function_has_its_reason() -> None:
    assert rooms.unlisted(FOUND) == ([], [])


def test_an_import_upwards_a_cycle_and_a_late_import_are_found(tmp_path: Path) -> None:
    for name, text in {
        "files.py": "from waha_mcp.waha.client import Waha",
        "waha/__init__.py": "",
        "waha/client.py": "from waha_mcp import files\ndef late():\n    import sqlite3",
        "waha/files.py": "",
    }.items():
        path = tmp_path / "waha_mcp" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    found = rooms.imports(tmp_path)
    assert [str(each) for each in rooms.upward(found)] == ["files -> waha.client"]
    assert rooms.cycles(found) == [["files", "waha"]]
    assert rooms.unlisted(found)[0] == ["waha.client -> sqlite3"]
    assert list(rooms.twice(tmp_path)) == ["files.py"]


def test_the_report_says_that_the_house_is_in_order() -> None:
    report = rooms.report(ROOT)
    assert "Upward imports: 0\nCycles of rooms: 0\nFile names that stand twice: 0" in report


def _sources() -> list[Path]:
    return sorted((ROOT / "waha_mcp").rglob("*.py"))
