"""The approvals page: who may ask for it, and how it works in a real browser."""

from __future__ import annotations

import base64
import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.console.browser import browser, missing
from tests.harness import COMMAND, approvals_of, environment, opened_store, run
from tests.policy.common import HOSTILE, assert_nothing_forged, hostile_question
from waha_mcp.app.policy_fields import LIFETIME
from waha_mcp.console.approvals_page import approvals_app
from waha_mcp.policy.approval import Entry, waiting
from waha_mcp.policy.question import File, Line, Question
from waha_mcp.policy.task_grants import in_force


@pytest.fixture(scope="module")
def page_state(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The state folder that the page reads."""
    return str(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def page(page_state: str) -> Iterator[str]:
    """The address that `waha-mcp approvals` prints."""
    with subprocess.Popen(
        [*COMMAND, "approvals"], stdout=subprocess.PIPE, text=True, env=environment(XDG_STATE_HOME=page_state)
    ) as process:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/#\S+", process.stdout.readline() + process.stdout.readline())
        assert found
        try:
            yield found[0]
        finally:
            process.terminate()


@pytest.fixture(autouse=True)
def nothing_waits(
    request: pytest.FixtureRequest, state_home: None, page_state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let the test put its questions where the page reads them, with none there from another test."""
    if "page" not in request.fixturenames:
        return
    monkeypatch.setenv("XDG_STATE_HOME", page_state)
    store = opened_store()
    for table in ("question", "task_grant"):
        for row in store.rows(table):
            store.swap(table, row.key, row.value, None)


def wait_for(
    text: str = "The quote is 1,240 for both rooms.",
    digest: str = "d1",
    who: str = "Maya",
    open_to: Mapping[str, str] | None = None,
) -> Entry:
    """Put a question where the page finds it. `open_to`: for whom a window may be opened with a yes."""
    return approvals_of("assistant").ask(
        Question(
            app="assistant",
            tool="send_text",
            title="Send a text",
            recipients=(f"{who} (+447700900142)",),
            content={"text": text},
            digest=digest,
            expires=time.time() + LIFETIME,
            open_to=open_to or {},
            identity="assistant/key",
        )
    )


class Caller:
    """Requests to the page's server, right but for what a case changes."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._base, self._token = f"http://{parts.netloc}", parts.fragment
        self._headers = {"X-Approvals-Token": self._token, "Origin": self._base}

    def __call__(self, method: str, path: str, **changes: str | None) -> httpx.Response:
        headers = {k: v for k, v in (self._headers | {k.replace("_", "-"): v for k, v in changes.items()}).items() if v}
        return httpx.request(method, self._base + path, headers=headers)


WRONG: dict[str, tuple[dict[str, str | None], int]] = {
    "no token": ({"X_Approvals_Token": None}, 403),
    "another token": ({"X_Approvals_Token": "x" * 32}, 403),
    "a name that was bound to this address": ({"Host": "evil.example:80"}, 421),
    "the address without its port": ({"Host": "127.0.0.1"}, 421),
    "another site": ({"Origin": "https://evil.example"}, 403),
    "a page without origin": ({"Origin": "null"}, 403),
}


@pytest.mark.parametrize("case", WRONG)
def test_who_is_not_the_page_gets_and_decides_nothing(case: str, page: str) -> None:
    entry = wait_for()
    changes, status = WRONG[case]
    caller = Caller(page)
    assert caller("GET", "/approvals", **changes).status_code == status
    assert caller("POST", f"/approvals/{entry.id}/approve", **changes).status_code == status
    assert [each.id for each in waiting()] == [entry.id]


@pytest.mark.anyio
async def test_the_application_itself_asks_for_the_secret() -> None:
    transport = httpx.ASGITransport(approvals_app("the-secret", 4000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4000") as client:
        assert (await client.get("/approvals")).status_code == 403
        assert (await client.get("/approvals", headers={"X-Approvals-Token": "the-secret"})).status_code == 200


def test_a_post_without_origin_decides_nothing(page: str) -> None:
    entry = wait_for()
    assert Caller(page)("POST", f"/approvals/{entry.id}/approve", Origin=None).status_code == 403
    assert waiting()


def test_in_a_container_it_listens_on_another_address_and_answers_as_on_loopback(page_state: str) -> None:
    """A published port leads to an address of the container, and what a browser asks for is the host's loopback."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [*COMMAND, "approvals", "--host", "0.0.0.0", "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(XDG_STATE_HOME=page_state),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            shown = process.stdout.readline() + process.stdout.readline()
            found = re.search(rf"http://127\.0\.0\.1:{port}/#(\S+)", shown)
            assert found, process.stderr.read()
            secret = found[1]
            elsewhere = f"http://127.0.0.2:{port}/approvals"
            as_published = {"Host": f"127.0.0.1:{port}", "X-Approvals-Token": secret}
            assert httpx.get(elsewhere, headers=as_published).status_code == 200
            assert httpx.get(elsewhere, headers={"X-Approvals-Token": secret}).status_code == 421
            assert httpx.get(elsewhere, headers=as_published | {"X-Approvals-Token": "x"}).status_code == 403
        finally:
            process.terminate()
        warning = process.stderr.read()
    assert f"127.0.0.1:{port}" in warning
    assert secret not in warning


def test_by_itself_it_listens_on_loopback_alone_and_warns_of_nothing(page: str) -> None:
    port = urlsplit(page).port
    assert port is not None
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.2:{port}/")


def test_an_address_that_this_machine_has_not_is_said() -> None:
    done = run("approvals", "--host", "192.0.2.1", "--port", "0")
    assert done.returncode == 2
    assert "cannot serve on 192.0.2.1 port 0" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("path", ["approve/../x", "delete", "approve%2f"])
def test_there_is_nothing_else_to_do(path: str, page: str) -> None:
    entry = wait_for()
    assert Caller(page)("POST", f"/approvals/{entry.id}/{path}").status_code in (404, 405)
    assert waiting()


def test_the_right_page_lists_and_decides_once(page: str) -> None:
    entry = wait_for()
    caller = Caller(page)
    assert [each["id"] for each in caller("GET", "/approvals").json()] == [entry.id]
    assert caller("GET", f"/approvals/{entry.id}/approve").status_code == 405
    assert caller("POST", f"/approvals/{entry.id}/refuse").status_code == 200
    assert caller("POST", f"/approvals/{entry.id}/approve").status_code == 404


@pytest.mark.anyio
@pytest.mark.parametrize("text", HOSTILE)
async def test_the_page_gets_a_question_in_the_words_of_all(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    question = hostile_question(text)
    entry = approvals_of("one").ask(question)
    transport = httpx.ASGITransport(approvals_app("the-secret", 4000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4000") as client:
        [found] = (await client.get("/approvals", headers={"X-Approvals-Token": "the-secret"})).json()
    shown = "\n".join(str(Line(*line)) for line in found.pop("lines"))
    assert found == {"id": entry.id, "app": "one", "tool": "send_media", "files": [], "window": None}
    assert shown == question.text()
    assert_nothing_forged(shown, question)


def test_the_page_loads_nothing_from_elsewhere_and_is_not_kept(page: str) -> None:
    answer = Caller(page)("GET", "/", X_Approvals_Token=None)
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"""(src|href)=|url\(|@import""", answer.text)


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_a_person_reads_approves_and_refuses_in_a_browser(page: str, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    wait_for()
    with browser(tmp_path / "profile") as window:
        window.open(page)
        shown = window.wait_for("The quote is 1,240")
        assert "Send a text to Maya (+447700900142)?" in shown
        assert "good until" in shown
        refused = wait_for(hostile, "d2", who="<b>Bank</b>")
        shown = window.wait_for("<img src=x")
        assert "<b>Bank</b>" in shown
        assert window.run("return document.title") == "Approvals · waha-mcp"
        window.click(f'[data-id="{refused.id}"] .refuse')
        window.click(f'article:not([data-id="{refused.id}"]) .approve')
        window.wait_for("Nothing is waiting.")
    states = {entry.question.digest: entry.state for entry in approvals_of("assistant").entries()}
    assert states == {"d1": "approved", "d2": "refused"}


# For a while

MAYA = {"447700900142@c.us": "Maya (+447700900142)"}
HOSTILE_NAME = {"447700900142@c.us": "+447700900142, who calls themselves “<b>x</b>\u202e”"}


def opened() -> list[tuple[str, str, int, float]]:
    return [(each.app_id, each.shown, each.left, each.seconds) for each in in_force(opened_store())]


def test_a_yes_for_a_while_approves_the_question_and_opens_the_window(page: str) -> None:
    entry, caller = wait_for(open_to=MAYA), Caller(page)
    [listed] = caller("GET", "/approvals").json()
    assert listed["window"] == "then without a question to Maya (+447700900142): 5 messages in 30 min at most"
    assert caller("POST", f"/approvals/{entry.id}/open").status_code == 200
    assert [each.state for each in approvals_of("assistant").entries()] == ["approved"]
    assert opened() == [("assistant", "Maya (+447700900142)", 5, 1800.0)]
    assert caller("POST", f"/approvals/{entry.id}/open").status_code == 404


def test_a_question_that_may_open_nothing_opens_nothing(page: str) -> None:
    entry, caller = wait_for(), Caller(page)
    assert caller("POST", f"/approvals/{entry.id}/open").status_code == 404
    assert [each.state for each in approvals_of("assistant").entries()] == ["waiting"]
    assert opened() == []


@pytest.mark.parametrize("decision", ["approve", "refuse"])
def test_any_other_decision_opens_nothing(decision: str, page: str) -> None:
    entry = wait_for(open_to=MAYA)
    assert Caller(page)("POST", f"/approvals/{entry.id}/{decision}").status_code == 200
    assert opened() == []


@pytest.mark.parametrize("case", WRONG)
def test_who_is_not_the_page_opens_no_window(case: str, page: str) -> None:
    entry = wait_for(open_to=MAYA)
    changes, status = WRONG[case]
    assert Caller(page)("POST", f"/approvals/{entry.id}/open", **changes).status_code == status
    assert opened() == []


def test_the_trail_of_an_app_that_keeps_one_says_that_a_window_was_opened(page: str, page_state: str) -> None:
    trail = Path(page_state) / "waha-mcp" / "assistant" / "trail.jsonl"
    trail.parent.mkdir(parents=True, exist_ok=True)
    trail.write_text("")
    entry = wait_for(open_to=MAYA)
    assert Caller(page)("POST", f"/approvals/{entry.id}/open").status_code == 200
    [line] = map(json.loads, trail.read_text().splitlines())
    trail.unlink()
    assert (line["decision"], line["client"], line["chats"]) == (
        "task grant given by the user", "the approvals page", list(MAYA),
    )  # fmt: skip


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_a_person_allows_for_a_while_in_a_browser(page: str, tmp_path: Path) -> None:
    entry = wait_for(open_to=HOSTILE_NAME)
    other = wait_for("Only this once", "d2")
    with browser(tmp_path / "profile") as window:
        window.open(page)
        shown = window.wait_for("Only this once")
        assert "“Allow for a while”: this, and then without a question to +447700900142" in shown
        assert "<b>x</b><U+202E>”: 5 messages in 30 min at most." in shown
        assert window.run(f"return document.querySelectorAll('[data-id=\"{other.id}\"] .open').length") == 0
        window.click(f'[data-id="{entry.id}"] .open')
        window.click(f'[data-id="{other.id}"] .refuse')
        window.wait_for("Nothing is waiting.")
    assert [(app, left) for app, _, left, _ in opened()] == [("assistant", 5)]
    states = {entry.question.digest: entry.state for entry in approvals_of("assistant").entries()}
    assert states == {"d1": "approved", "d2": "refused"}


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_an_address_without_its_secret_shows_nothing_in_a_browser(page: str, tmp_path: Path) -> None:
    wait_for()
    with browser(tmp_path / "profile") as window:
        window.open(page.partition("#")[0])
        assert "1,240" not in window.wait_for("no right to look")


# Copies of files

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
SVG = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
HTML = b"<html><script>document.title='owned'</script>"


def wait_with(*files: tuple[str, bytes], digest: str = "f") -> Entry:
    records = tuple(File.of("path", name, content) for name, content in files)
    asked = Question(
        "assistant", "send_media", "Send media", ("Maya",), {}, digest, time.time() + LIFETIME, files=records
    )
    return approvals_of("assistant").ask(asked, [content for _, content in files])


CONTENTS: dict[str, tuple[str, bytes, str]] = {
    "a picture": ("a.png", PNG, "image/png"),
    "a picture under another name": ("a.html", PNG, "image/png"),
    "a page": ("a.html", HTML, "application/octet-stream"),
    "a page that is called a picture": ("a.png", HTML, "application/octet-stream"),
    "a drawing with a script": ("a.svg", SVG, "application/octet-stream"),
    "a document": ("a.pdf", b"%PDF-1.7", "application/octet-stream"),
    "a text": ("a.txt", b"hello", "application/octet-stream"),
    "a sound": ("a.mp3", b"ID3", "application/octet-stream"),
}


@pytest.mark.parametrize("case", CONTENTS)
def test_a_copy_is_a_picture_or_a_download_and_nothing_that_runs(case: str, page: str) -> None:
    name, content, kind = CONTENTS[case]
    entry = wait_with((name, content))
    [listed] = Caller(page)("GET", "/approvals").json()
    assert listed["files"] == [{"number": 0, "name": name, "image": kind == "image/png"}]
    answer = Caller(page)("GET", f"/approvals/{entry.id}/files/0")
    assert answer.content == content
    assert answer.headers["content-type"] == kind
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("case", WRONG)
def test_who_is_not_the_page_gets_no_copy(case: str, page: str) -> None:
    entry = wait_with(("a.png", PNG))
    changes, status = WRONG[case]
    assert Caller(page)("GET", f"/approvals/{entry.id}/files/0", **changes).status_code == status


@pytest.mark.parametrize("path", ["{id}/files/1", "{id}/files/-1", "{id}/files/x", "*/files/0", "{id}/files/0/x"])
def test_there_is_no_other_copy(path: str, page: str) -> None:
    entry = wait_with(("a.png", PNG))
    assert Caller(page)("GET", f"/approvals/{path.format(id=entry.id)}").status_code == 404


def test_a_decided_question_shows_no_copy_any_more(page: str) -> None:
    entry = wait_with(("a.png", PNG))
    assert Caller(page)("POST", f"/approvals/{entry.id}/approve").status_code == 200
    assert Caller(page)("GET", f"/approvals/{entry.id}/files/0").status_code == 404


def test_the_copy_of_a_question_that_is_gone_is_not_shown(page: str) -> None:
    entry = wait_with(("a.png", PNG))
    store = opened_store()
    for row in store.rows("question"):
        store.swap("question", row.key, row.value, None)
    assert Caller(page)("GET", f"/approvals/{entry.id}/files/0").status_code == 404


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("sub/plan.pdf", "plan.pdf"),
        ("sub\\plan.pdf", "plan.pdf"),
        (".profile", "profile"),
        ("...", "file"),
        ("a\u202egpj.exe", "a<U+202E>gpj.exe"),
    ],
)
def test_a_download_has_a_plain_name(name: str, shown: str, page: str) -> None:
    wait_with((name, b"x"))
    [listed] = Caller(page)("GET", "/approvals").json()
    assert [file["name"] for file in listed["files"]] == [shown]


def test_a_file_without_a_copy_is_not_offered(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waha_mcp.policy.shown_files.MOST_COPIED", 3)
    wait_with(("big.txt", b"xxxx"), ("small.txt", b"xxx"))
    [listed] = Caller(page)("GET", "/approvals").json()
    assert [(file["number"], file["name"]) for file in listed["files"]] == [(1, "small.txt")]


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_a_person_sees_a_picture_and_saves_what_is_none_in_a_browser(page: str, tmp_path: Path) -> None:
    dot = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    wait_with(("dot.png", dot), ("page.html", HTML))
    with browser(tmp_path / "profile") as window:
        window.open(page)
        assert "Save a copy of page.html" in window.wait_for("Save a copy")
        end = time.monotonic() + 15
        while window.run("return document.querySelector('img').naturalWidth") != 1:
            assert time.monotonic() < end
        window.click("button.file")
        window.wait_for("Save a copy")
        assert window.run("return document.title") == "Approvals · waha-mcp"
        assert window.run("return location.pathname") == "/"
