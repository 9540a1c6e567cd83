"""Logs go to stderr and hold no secrets."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from waha_mcp.log import configure_logging, hide, redact

KEY = "k-4f9a1c77d2e84b0f"


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("waha_mcp")
    handlers, level, our_level = root.handlers[:], root.level, ours.level
    root.handlers[:] = []  # pytest's own would be closed by the configuration
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    ours.setLevel(our_level)


def test_the_key_is_taken_out_of_lines_and_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    hide(SecretStr(KEY))
    configure_logging("info")
    log = logging.getLogger("waha_mcp.test")
    log.info("with %s inside", KEY)
    try:
        raise ValueError(f"about {KEY}")
    except ValueError:
        log.exception("failed")
    out, err = capsys.readouterr()
    assert out == ""
    assert KEY not in err
    assert err.count("[key]") >= 2
    assert "ValueError" in err


def test_ours_show_from_the_chosen_level_and_others_from_warning_on(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("debug")
    logging.getLogger("waha_mcp.test").debug("our detail")
    logging.getLogger("httpx").info("their detail")
    logging.getLogger("httpx").warning("their warning")
    err = capsys.readouterr().err
    assert "our detail" in err
    assert "their detail" not in err
    assert "their warning" in err


def test_what_is_below_the_level_does_not_show(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("error")
    logging.getLogger("waha_mcp.test").warning("not this")
    assert capsys.readouterr().err == ""


def test_an_empty_secret_hides_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    hide(SecretStr(""))
    configure_logging("info")
    logging.getLogger("waha_mcp.test").info("as it is")
    assert "as it is" in capsys.readouterr().err


def test_of_a_key_that_begins_as_another_does_nothing_is_left() -> None:
    short, long = SecretStr("key_0123"), SecretStr("key_0123_4567")
    for keys in ((short, long), (long, short)):
        assert redact("with key_0123_4567 and key_0123", *keys) == "with [key] and [key]"
