"""The console's view of the trail: what it shows and finds, live updates, and whose lines they are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.console.browser import Browser
from tests.console.page import Caller, Element, add_line, open_page, parsed
from tests.harness import run
from waha_mcp.console.trail import MOST_SHOWN
from waha_mcp.policy.trail_search import MOST_READ, Wanted

MAYA, SAM, HIKERS = "447700900142@c.us", "12025550123@c.us", "120363000000000000@g.us"


def at(minute: int, second: float = 0) -> str:
    return f"2026-11-26T15:{minute:02}:{second:06.3f}+00:00"


def fill() -> None:
    add_line(time=at(1), call="a1", tool="get_messages", chats=[MAYA], client="one 1.0", ms=3.5)
    add_line(time=at(2), call="a2", tool="send_text", chats=[MAYA], decision="approved", message_id="true_x")
    add_line(
        time=at(3), call="a3", tool="send_media", chats=[SAM, HIKERS], decision="recipient refused", outcome="refused"
    )
    add_line("on_call", time=at(4), call="b1", tool="send_text", chats=[HIKERS], outcome="unknown")


def rows(answer: str) -> list[Element]:
    return [row for rows in parsed(answer).all("ol", "rows") for row in rows.all("li")]


def ids(page: str, **query: str) -> list[str]:
    answer = Caller(page)("GET", f"/views/trail?{'&'.join(f'{k}={v}' for k, v in query.items())}").raise_for_status()
    return [row.attributes["id"].rpartition("-")[2] for row in rows(answer.text)]


def test_the_trails_of_all_apps_are_one_newest_first(page: str) -> None:
    fill()
    assert ids(page) == ["b1", "a3", "a2", "a1"]
    shown = Caller(page)("GET", "/views/trail").text
    newest = rows(shown)[1]
    assert [link.text for link in newest.all("a")] == ["+12025550123", HIKERS]
    assert newest.all("span", "outcome")[0].text == "refused"
    assert "recipient refused" in newest.text
    [more] = rows(shown)[2].all("details")
    assert [each.text for each in more.all("dt") + more.all("dd")] == ["message_id", "true_x"]
    assert "one 1.0 · allowed · 4 ms" in " ".join(rows(shown)[3].text.split())
    assert rows(shown)[3].all("details") == []


def test_each_filter_finds_what_is_looked_for_and_they_add_up(page: str) -> None:
    fill()
    assert ids(page, app="on_call") == ["b1"]
    assert ids(page, app="nobody") == []
    assert ids(page, chat="447700900142") == ids(page, chat="%2B44+7700-900142") == ["a2", "a1"]
    assert ids(page, chat="@g.us") == ["b1", "a3"]
    assert ids(page, tool="send_") == ["b1", "a3", "a2"]
    assert ids(page, outcome="refused") == ["a3"]
    assert ids(page, outcome="approved") == ["a2"]
    assert ids(page, outcome="unknown") == ["b1"]
    assert ids(page, tool="send", chat=MAYA, outcome="done") == ["a2"]
    assert "No call like that" in Caller(page)("GET", "/views/trail?tool=nothing").text


def test_the_terminal_finds_the_same(page: str, page_state: str) -> None:
    fill()

    def log(*options: str) -> list[str]:
        done = run("log", "--app", "assistant", *options, env={"XDG_STATE_HOME": page_state})
        assert done.returncode == 0, done.stderr
        return [json.loads(line)["call"] for line in done.stdout.splitlines()]

    assert log() == ["a1", "a2", "a3"]
    assert log("--chat", "+44 7700 900142") == ["a1", "a2"]
    assert log("--tool", "send", "--last", "1") == ["a3"]
    assert log("--outcome", "approved") == ["a2"]
    assert log("--outcome", "done", "--last", "1") == ["a2"]
    nothing = run("log", "--app", "assistant", "--chat", "Maya", env={"XDG_STATE_HOME": page_state})
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert nothing.stderr == (
        "Nothing in the trail of App 'assistant' matches; a trail holds numbers and ids of chats, no names.\n"
    )


def test_a_decision_that_sounds_like_an_outcome_is_none() -> None:
    line: dict[str, Any] = {"tool": "get_media", "decision": "unknown message", "outcome": "refused"}
    assert not Wanted(outcome="unknown").accepts(line)
    assert Wanted(outcome="Unknown message").accepts(line)
    assert not Wanted(chat="1").accepts(line | {"chats": "no list"})


def test_a_long_trail_is_looked_through_in_parts(page: str, page_state: str) -> None:
    add_line(time=at(0), call="old", tool="post_text_status")
    trail = Path(page_state, "waha-mcp", "assistant", "trail.jsonl")
    with trail.open("a") as file:
        for number in range(MOST_READ + 5):
            file.write(json.dumps({"time": at(1, number / 200), "tool": "list_chats"}) + "\n")
    first = Caller(page)("GET", "/views/trail?tool=status").text
    assert "Only a part of the trail has been looked through" in first
    [older] = [link.attributes["href"] for link in parsed(first).all("a", "button") if link.text == "Older"]
    found = rows(Caller(page)("GET", f"/views/trail{older}").text)
    assert [row.attributes["id"] for row in found] == ["call-assistant-old"]


def test_a_trail_with_broken_lines_is_shown_without_them_or_as_what_they_are(page: str, page_state: str) -> None:
    fill()
    trail = Path(page_state, "waha-mcp", "assistant", "trail.jsonl")
    with trail.open("a") as file:
        file.write('torn {"time": \n[1]\n{"time": 5, "chats": {"a": 1}, "tool": null, "outcome": ["x"]}\n')
    assert ids(page)[-3:] == ["a3", "a2", "a1"]
    assert len(ids(page)) == 7


def test_a_long_text_is_shown_in_part_and_says_so(page: str) -> None:
    add_line(call="l1", arguments={"text": "x" * 60_000})
    [row] = rows(Caller(page)("GET", "/views/trail").text)
    assert row.text.count("x" * (MOST_SHOWN - len('{"text": "'))) == 1
    assert "… and 58,012 characters more" in row.text


def test_half_a_character_in_a_line_costs_no_view(page: str) -> None:
    add_line(call="s1", chats=["\ud800@c.us"], tool="\ud800", decision="\ud800")
    assert ids(page) == ["s1"]


def test_an_app_that_has_kept_nothing_gets_no_folder(page: str, page_state: str) -> None:
    before = set(Path(page_state).rglob("*"))
    assert ids(page, app="nobody") == []
    assert set(Path(page_state, "waha-mcp").glob("nobody")) == set()
    assert {path for path in set(Path(page_state).rglob("*")) - before if path.is_dir()} == set()


def test_a_person_filters_looks_back_and_comes_back_to_it_in_a_browser(page: str, window: Browser) -> None:
    fill()
    secret = page.partition("#")[2]
    open_page(window, page)
    window.wait_for("Nothing is waiting.")
    window.click("nav a[data-view=trail]")
    window.wait_for("recipient refused")
    assert window.run("return document.title") == "Trail · waha-mcp"
    assert window.focused() == "What agents did"
    window.run("document.getElementById('tool').focus()")
    window.press(*"send_text", "Enter")
    window.until("return document.querySelectorAll('.rows li').length === 2")
    assert window.run("return location.pathname + location.search") == "/trail?tool=send_text"
    window.run("location.reload()")
    window.until("return document.querySelectorAll('.rows li').length === 2")
    assert window.run("return document.getElementById('tool').value") == "send_text"
    assert window.run("return location.hash") == f"#{secret}"
    assert window.run("return document.querySelector('nav [aria-current]').dataset.view") == "trail"
    window.click(".rows a[href*='447700900142']")
    window.until("return document.querySelectorAll('.rows li').length === 1")
    window.click(".filters a.button")
    window.until("return document.querySelectorAll('.rows li').length === 4")
    window.run("history.back()")
    window.until("return document.querySelectorAll('.rows li').length === 1")
    sent = window.run("return performance.getEntriesByType('resource').map(each => each.name)")
    assert sent
    assert not [url for url in sent if secret in url or not url.startswith(page.partition("/#")[0])]


def test_what_agents_do_appears_while_it_is_looked_at(page: str, window: Browser) -> None:
    fill()
    open_page(window, page.replace("/#", "/trail#"))
    window.wait_for("recipient refused")
    window.run("document.getElementById('chat').focus()")
    window.press(*"447")
    window.run("document.querySelector('details').open = true")
    add_line(time=at(5), call="a5", tool="delete_message")
    window.wait_for("delete_message")
    assert window.run("return document.getElementById('chat').value") == "447"
    assert window.run("return document.activeElement.id") == "chat"
    assert window.run("return document.querySelectorAll('details[open]').length") == 1


def test_what_is_under_way_is_shown_as_that_and_then_as_what_became_of_it(page: str, window: Browser) -> None:
    open_page(window, page.replace("/#", "/trail#"))
    window.wait_for("No calls yet")
    add_line(time=at(1), call="e1", outcome="begun", process="elsewhere")
    window.until("return document.querySelector('.outcome')?.textContent === 'unknown'")
    add_line(time=at(1), call="e1", outcome="done")
    window.until("return document.querySelector('.outcome')?.textContent === 'done'")
    assert window.run("return document.querySelectorAll('.rows li').length") == 1


def test_the_view_says_no_more_than_the_trail(page: str) -> None:
    fill()
    shown = parsed(Caller(page)("GET", "/views/trail").text)
    texts = " ".join(row.text for row in shown.all("li"))
    assert not re.search("text|caption|arguments", texts.replace("send_text", ""))
