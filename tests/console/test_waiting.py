"""The console's server, and its view of waiting questions: who may ask for it, and how it works in a real browser."""

from __future__ import annotations

import base64
import io
import json
import re
import socket
import subprocess
import time
import wave
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.console.browser import SETTLED, Browser
from tests.console.page import (
    PNG,
    WRONG,
    Caller,
    add_line,
    click_once,
    console,
    open_page,
    questions_in,
    wait_for,
    wait_with,
)
from tests.harness import COMMAND, approvals_of, environment, opened_store, run
from tests.policy.common import HOSTILE, assert_nothing_forged, hostile_question
from waha_mcp.console.server import console_app
from waha_mcp.policy.approval import waiting
from waha_mcp.policy.question import Line, clock
from waha_mcp.policy.task_grants import in_force


@pytest.mark.parametrize("case", WRONG)
def test_who_is_not_the_page_gets_and_decides_nothing(case: str, page: str) -> None:
    entry = wait_for()
    changes, status = WRONG[case]
    caller = Caller(page)
    assert caller("GET", "/views/waiting", None, **changes).status_code == status
    assert caller.decide(entry, "approve", **changes).status_code == status
    assert [each.id for each in waiting()] == [entry.id]


@pytest.mark.anyio
async def test_the_application_itself_asks_for_the_secret() -> None:
    transport = httpx.ASGITransport(console_app("the-secret", 4000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4000") as client:
        assert (await client.get("/views/waiting")).status_code == 403
        assert (await client.get("/views/waiting", headers={"X-Console-Token": "the-secret"})).status_code == 200


def test_a_post_without_origin_decides_nothing(page: str) -> None:
    entry = wait_for()
    assert Caller(page).decide(entry, "approve", Origin=None).status_code == 403
    assert waiting()


def test_in_a_container_it_listens_on_another_address_and_answers_as_on_loopback(page_state: str) -> None:
    """A published port leads to an address of the container, and the browser's Host is the host's loopback."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [*COMMAND, "console", "--host", "0.0.0.0", "--port", str(port)],
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
            elsewhere = f"http://127.0.0.2:{port}/views/waiting"
            as_published = {"Host": f"127.0.0.1:{port}", "X-Console-Token": secret}
            assert httpx.get(elsewhere, headers=as_published).status_code == 200
            assert httpx.get(elsewhere, headers={"X-Console-Token": secret}).status_code == 421
            assert httpx.get(elsewhere, headers=as_published | {"X-Console-Token": "x"}).status_code == 403
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
    done = run("console", "--host", "192.0.2.1", "--port", "0")
    assert done.returncode == 2
    assert "cannot serve on 192.0.2.1 port 0" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "path", ["waiting/approve/../x", "waiting/delete", "waiting/approve%2f", "other/approve", "waiting"]
)
def test_there_are_no_other_actions(path: str, page: str) -> None:
    entry = wait_for()
    assert Caller(page)("POST", f"/views/{path}", {"id": entry.id}).status_code in (404, 405)
    assert waiting()


@pytest.mark.parametrize("form", [{}, {"id": ""}, {"id": "*"}, {"id": "x" * 20_000}])
def test_a_form_that_names_no_question_decides_none(form: dict[str, str], page: str) -> None:
    wait_for()
    answer = Caller(page)("POST", "/views/waiting/approve", form)
    assert (answer.status_code, answer.text) == (409, "That one is no longer waiting.")
    assert waiting()


def test_the_right_page_lists_and_decides_once(page: str) -> None:
    entry = wait_for()
    caller = Caller(page)
    assert [each.id for each in caller.questions()] == [entry.id]
    assert caller("GET", "/views/waiting/approve").status_code == 405
    assert caller.decide(entry, "refuse").status_code == 200
    assert caller.decide(entry, "approve").status_code == 409


def test_what_has_not_changed_is_not_sent_again(page: str) -> None:
    wait_for()
    first = Caller(page)("GET", "/views/waiting")
    same = Caller(page)("GET", "/views/waiting", If_None_Match=first.headers["etag"])
    assert (same.status_code, same.content) == (304, b"")
    assert json.loads(same.headers["x-console-counts"]) == {"waiting": 1}
    wait_for("Another", "d2")
    changed = Caller(page)("GET", "/views/waiting", If_None_Match=first.headers["etag"])
    assert len(questions_in(changed.text)) == 2


@pytest.mark.anyio
@pytest.mark.parametrize("text", HOSTILE)
async def test_the_page_gets_a_question_in_the_words_of_all(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    question = hostile_question(text)
    entry = approvals_of("one").ask(question)
    transport = httpx.ASGITransport(console_app("the-secret", 4000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4000") as client:
        answer = await client.get("/views/waiting", headers={"X-Console-Token": "the-secret"})
    [found] = questions_in(answer.text)
    assert found.meta == f"App one send_media id {entry.id} good until {clock(question.expires)}"
    assert (found.id, found.files, found.window) == (entry.id, [], None)
    lines = [("", found.head), found.lines[0], ("good until", clock(question.expires)), *found.lines[1:]]
    shown = "\n".join(str(Line(*line)) for line in lines)
    assert shown == question.text()
    assert_nothing_forged(shown, question)


def test_the_page_loads_nothing_from_elsewhere_and_is_not_kept(page: str) -> None:
    answer = Caller(page)("GET", "/", X_Console_Token=None)
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"""\ssrc=|url\(|@import|<link""", answer.text)
    assert re.findall(r'href="([^"]*)"', answer.text) == ["/waiting", "/trail", "/reach", "/connections"]
    for name in ("script-src", "style-src"):
        assert re.search(rf"{name} 'nonce-[\w-]{{22}}';", answer.headers["content-security-policy"])
    for directive in ("frame-ancestors 'none'", "form-action 'none'", "base-uri 'none'"):
        assert directive in answer.headers["content-security-policy"]
    assert "require-trusted-types-for 'script'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/", "/waiting", "/trail"])
def test_the_page_itself_holds_no_data(path: str, page: str) -> None:
    wait_for()
    add_line(tool="send_text", chats=["447700900142@c.us"])
    answer = Caller(page)("GET", path, X_Console_Token=None)
    assert answer.status_code == 200
    assert not re.search("1,240|Maya|assistant|447700900142", answer.text)
    assert Caller(page)("GET", path, Host="evil.example").status_code == 421


def test_a_person_reads_approves_and_refuses_in_a_browser(page: str, window: Browser) -> None:
    hostile = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    wait_for()
    open_page(window, page)
    shown = window.wait_for("The quote is 1,240")
    assert "Send a text to Maya (+447700900142)?" in shown
    assert "good until" in shown
    refused = wait_for(hostile, "d2", who="<b>Bank</b>")
    shown = window.wait_for("<img src=x")
    assert "<b>Bank</b>" in shown
    assert window.run("return document.title") == "(2) Waiting · waha-mcp"
    window.click(f'[data-id="{refused.id}"] .refuse')
    window.wait_for("Refused.")
    window.click(f'article:not([data-id="{refused.id}"]) .approve')
    window.wait_for("Nothing is waiting.")
    states = {entry.question.digest: entry.state for entry in approvals_of("assistant").entries()}
    assert states == {"d1": "approved", "d2": "refused"}


def test_a_button_still_shown_while_the_next_view_loads_does_what_it_says(page: str, window: Browser) -> None:
    wait_for()
    open_page(window, page)
    window.wait_for("1,240")
    window.until(SETTLED)
    window.run(
        "const ask = window.fetch; window.fetch = (url, more) => url.endsWith('/views/trail')"
        " ? new Promise(done => { window.goOn = () => done(ask(url, more)); }) : ask(url, more)"
    )
    window.click("nav a[data-view=trail]")
    window.until("return window.goOn !== undefined")
    window.click(".refuse")
    window.wait_for("Refused.")
    assert [entry.state for entry in approvals_of("assistant").entries()] == ["refused"]
    window.run("window.goOn()")
    window.wait_for("What agents did")


def test_what_comes_moves_nothing_and_takes_no_focus(page: str, window: Browser) -> None:
    first = wait_for()
    open_page(window, page)
    window.wait_for("1,240")
    window.run(f"window.first = document.getElementById('question-{first.id}'); first.querySelector('.refuse').focus()")
    wait_for("Another", "d2")
    window.wait_for("Another")
    assert window.focused() == "Refuse"
    assert window.run(f"return document.getElementById('question-{first.id}') === window.first")
    assert window.run("return document.getElementById('news').textContent") == "Waiting: 2"
    assert window.run("return document.querySelector('.count').textContent") == "2"


def test_the_time_left_is_shown_and_not_announced_each_second_by_screen_readers(page: str, window: Browser) -> None:
    wait_for()
    open_page(window, page)
    window.wait_for("1,240")
    left = "return document.querySelector('.left').textContent"
    before = window.run(left)
    assert re.fullmatch(r"\d+:\d\d left", before)
    window.until(f"{left} !== {json.dumps(before)}")
    assert window.run("return document.querySelector('.left').ariaHidden") == "true"
    assert (
        window.run("return document.querySelector('.left').closest('[aria-live], [role=status], [role=alert]')") is None
    )


def test_a_click_that_was_meant_for_a_question_above_does_not_hit_the_one_that_takes_its_place(
    page: str, window: Browser
) -> None:
    first, second = wait_for(), wait_for("Another", "d2")
    open_page(window, page)
    window.wait_for("Another")
    window.until(SETTLED)
    window.run(click_once(f"return !document.getElementById('question-{first.id}')", ".approve"))
    assert approvals_of("assistant").decide(first.id, approve=False)
    window.until("return window.clicked")
    window.until(SETTLED)
    assert [each.id for each in Caller(page).questions()] == [second.id]
    window.click(".refuse")
    window.wait_for("Nothing is waiting.")
    assert {entry.state for entry in approvals_of("assistant").entries()} == {"refused"}


def test_a_click_after_scrolling_counts(page: str, window: Browser) -> None:
    wait_for("\n".join("Line" for _ in range(60)))
    open_page(window, page)
    window.wait_for("Line")
    window.show_as(860, 300)
    window.until(SETTLED)
    click = "document.querySelector('.approve').dispatchEvent(new MouseEvent('click', {detail: 1, bubbles: true}))"
    window.run(f"scrollTo(0, document.body.scrollHeight); {click}")
    window.wait_for("Nothing is waiting.")


def test_a_notice_of_a_decision_moves_nothing(page: str, window: Browser) -> None:
    first = wait_for()
    open_page(window, page)
    window.wait_for("1,240")
    top = "return document.querySelector('h1').getBoundingClientRect().top"
    before = window.run(top)
    window.click(f'[data-id="{first.id}"] .refuse')
    window.wait_for("Refused.")
    assert window.run(top) == before


def test_a_question_that_expires_is_gone_by_itself(page: str, window: Browser) -> None:
    wait_for(expires=time.time() + 4)
    open_page(window, page)
    window.wait_for("1,240")
    window.wait_for("Nothing is waiting.")


def test_all_of_it_works_by_keyboard(page: str, window: Browser) -> None:
    wait_for(open_to=MAYA)
    open_page(window, page)
    window.wait_for("1,240")
    passed: list[str] = []
    while not passed or passed[-1] != "Refuse":
        window.press("Tab")
        assert len(passed) < 10
        passed.append(window.focused())
        assert window.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid", passed
    assert passed[-3:] == ["Allow once", "Allow for a while", "Refuse"]
    window.press("Enter")
    window.wait_for("Nothing is waiting.")
    assert window.focused() == "Waiting for you"
    assert [entry.state for entry in approvals_of("assistant").entries()] == ["refused"]


def test_a_text_is_shown_as_its_recipients_see_it_beside_how_it_is_written(page: str, window: Browser) -> None:
    wait_for("*Bold* and _not_ https://example.com", "d1")
    wait_for("plain https://example.com", "d2")
    open_page(window, page)
    window.wait_for("plain")
    assert window.run("return [...document.querySelectorAll('.bubble')].map(each => each.textContent)") == [
        "Bold and not https://example.com",
        "plain https://example.com",
    ]
    assert window.run("return document.querySelector('.bubble strong').textContent") == "Bold"
    written = "return [...document.querySelectorAll('.raw .text')].map(each => each.textContent)"
    assert window.run(written) == ["*Bold* and _not_ https://example.com"]
    assert window.run("return document.querySelectorAll('main a').length") == 0


def test_a_message_that_is_answered_stands_before_the_answer(page: str) -> None:
    wait_for(content={"text": "At eight", "reply_to": "x", "what reply_to says": "When?"})
    [shown] = Caller(page).questions()
    assert [name for name, _ in shown.lines] == ["what reply_to says", "text", "reply_to"]


# For a while

MAYA = {"447700900142@c.us": "Maya (+447700900142)"}
HOSTILE_NAME = {"447700900142@c.us": "+447700900142, who calls themselves “<b>x</b>\u202e”"}


def opened() -> list[tuple[str, str, int, float]]:
    return [(each.app_id, each.shown, each.left, each.seconds) for each in in_force(opened_store())]


def test_a_yes_for_a_while_approves_the_question_and_opens_the_window(page: str) -> None:
    entry, caller = wait_for(open_to=MAYA), Caller(page)
    [listed] = caller.questions()
    assert listed.window == "then without a question to Maya (+447700900142): 5 messages in 30 min at most"
    assert caller.decide(entry, "open").status_code == 200
    assert [each.state for each in approvals_of("assistant").entries()] == ["approved"]
    assert opened() == [("assistant", "Maya (+447700900142)", 5, 1800.0)]
    assert caller.decide(entry, "open").status_code == 409


def test_a_question_that_may_open_nothing_opens_nothing(page: str) -> None:
    entry, caller = wait_for(), Caller(page)
    assert caller.decide(entry, "open").status_code == 409
    assert [each.state for each in approvals_of("assistant").entries()] == ["waiting"]
    assert opened() == []


@pytest.mark.parametrize("decision", ["approve", "refuse"])
def test_any_other_decision_opens_nothing(decision: str, page: str) -> None:
    entry = wait_for(open_to=MAYA)
    assert Caller(page).decide(entry, decision).status_code == 200
    assert opened() == []


@pytest.mark.parametrize("case", WRONG)
def test_who_is_not_the_page_opens_no_window(case: str, page: str) -> None:
    entry = wait_for(open_to=MAYA)
    changes, status = WRONG[case]
    assert Caller(page).decide(entry, "open", **changes).status_code == status
    assert opened() == []


def test_the_trail_of_an_app_that_keeps_one_says_that_a_window_was_opened(page: str, page_state: str) -> None:
    trail = Path(page_state) / "waha-mcp" / "assistant" / "trail.jsonl"
    trail.parent.mkdir(parents=True, exist_ok=True)
    trail.write_text("")
    entry = wait_for(open_to=MAYA)
    assert Caller(page).decide(entry, "open").status_code == 200
    [line] = map(json.loads, trail.read_text().splitlines())
    trail.unlink()
    assert (line["decision"], line["client"], line["chats"]) == (
        "task grant given by the user", "the console", list(MAYA),
    )  # fmt: skip


def test_a_person_allows_for_a_while_in_a_browser(page: str, window: Browser) -> None:
    entry = wait_for(open_to=HOSTILE_NAME)
    other = wait_for("Only this once", "d2")
    open_page(window, page)
    shown = window.wait_for("Only this once")
    assert "“Allow for a while”: this, and then without a question to +447700900142" in shown
    assert "<b>x</b><U+202E>”: 5 messages in 30 min at most." in shown
    assert window.run(f"return document.querySelectorAll('[data-id=\"{other.id}\"] .open').length") == 0
    window.click(f'[data-id="{entry.id}"] .open')
    window.wait_for("Allowed for a while.")
    window.click(f'[data-id="{other.id}"] .refuse')
    window.wait_for("Nothing is waiting.")
    assert [(app, left) for app, _, left, _ in opened()] == [("assistant", 5)]
    states = {entry.question.digest: entry.state for entry in approvals_of("assistant").entries()}
    assert states == {"d1": "approved", "d2": "refused"}


def test_an_address_without_its_secret_shows_nothing_in_a_browser(page: str, window: Browser) -> None:
    wait_for()
    open_page(window, page.partition("#")[0])
    assert "1,240" not in window.wait_for("no right to look")


def test_a_console_that_has_ended_says_so_and_what_it_shows_stays(
    tmp_path: Path, window: Browser, page_state: str
) -> None:
    with console(page_state) as address:
        open_page(window, address)
        window.wait_for("Waiting for you")
    window.wait_for("waha-mcp console is not running any more.")


# Copies of files

SVG = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
HTML = b"<html><script>document.title='owned'</script>"

CONTENTS: dict[str, tuple[str, bytes, str]] = {
    "a picture": ("a.png", PNG, "image/png"),
    "a picture under another name": ("a.html", PNG, "image/png"),
    "a page": ("a.html", HTML, "application/octet-stream"),
    "a page that is called a picture": ("a.png", HTML, "application/octet-stream"),
    "a drawing with a script": ("a.svg", SVG, "application/octet-stream"),
    "a document": ("a.pdf", b"%PDF-1.7", "application/octet-stream"),
    "a text": ("a.txt", b"hello", "application/octet-stream"),
    "a sound": ("a.mp3", b"ID3", "audio/mpeg"),
    "a page that is called a sound": ("a.mp3", HTML, "application/octet-stream"),
    "a film": ("a.mp4", b"\0\0\0\x18ftypmp42", "application/octet-stream"),
}


@pytest.mark.parametrize("case", CONTENTS)
def test_a_copy_is_a_picture_a_sound_or_a_download_and_nothing_that_runs(case: str, page: str) -> None:
    name, content, kind = CONTENTS[case]
    entry = wait_with((name, content))
    [listed] = Caller(page).questions()
    assert listed.files == [(name, {"image/png": "image", "audio/mpeg": "sound"}.get(kind, "other"))]
    answer = Caller(page)("GET", f"/views/waiting/files/{entry.id}-0")
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
    assert Caller(page)("GET", f"/views/waiting/files/{entry.id}-0", None, **changes).status_code == status


@pytest.mark.parametrize("path", ["{id}-1", "{id}--1", "{id}-x", "*-0", "{id}-0/x", "{id}", "..%2f{id}-0"])
def test_there_is_no_other_copy(path: str, page: str) -> None:
    entry = wait_with(("a.png", PNG))
    assert Caller(page)("GET", f"/views/waiting/files/{path.format(id=entry.id)}").status_code == 404


def test_a_decided_question_shows_no_copy_any_more(page: str) -> None:
    entry = wait_with(("a.png", PNG))
    assert Caller(page).decide(entry, "approve").status_code == 200
    assert Caller(page)("GET", f"/views/waiting/files/{entry.id}-0").status_code == 404


def test_the_copy_of_a_question_that_is_gone_is_not_shown(page: str) -> None:
    entry = wait_with(("a.png", PNG))
    store = opened_store()
    for row in store.rows("question"):
        store.swap("question", row.key, row.value, None)
    assert Caller(page)("GET", f"/views/waiting/files/{entry.id}-0").status_code == 404


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
    [listed] = Caller(page).questions()
    assert listed.files == [(shown, "other")]


def test_a_file_without_a_copy_is_not_offered(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waha_mcp.policy.shown_files.MOST_COPIED", 3)
    wait_with(("big.txt", b"xxxx"), ("small.txt", b"xxx"))
    [listed] = Caller(page).questions()
    assert listed.files == [("small.txt", "other")]


def test_a_person_sees_a_picture_hears_a_sound_and_saves_what_is_neither(page: str, window: Browser) -> None:
    dot = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(bytes(8000))
    wait_with(("dot.png", dot), ("page.html", HTML), ("hello.wav", sound.getvalue()))
    open_page(window, page)
    assert "Save a copy of page.html" in window.wait_for("Save a copy")
    window.until("return document.querySelector('img').naturalWidth === 1")
    window.until("return document.querySelector('audio').duration === 1")
    window.click("[data-name='page.html']")
    window.wait_for("Save a copy")
    assert window.run("return document.title") == "(1) Waiting · waha-mcp"
    assert window.run("return location.pathname") == "/"


def test_a_sound_plays_on_while_other_questions_come(page: str, window: Browser) -> None:
    wait_with(("hello.mp3", b"ID3"))
    open_page(window, page)
    window.until("return document.querySelector('audio')?.src.startsWith('blob:')")
    window.run("window.player = document.querySelector('audio'); window.plays = player.src")
    wait_for("Another", "d2")
    window.wait_for("Another")
    assert window.run("return document.querySelector('audio') === player && player.src === plays")
