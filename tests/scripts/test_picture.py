"""The pictures in the documents show what the program shows."""

from __future__ import annotations

import io

import pytest
from PIL import Image, ImageChops, ImageFilter, ImageStat

from tests.console.browser import missing

pytest.importorskip("pty")

from scripts import picture
from waha_mcp.console import pages

AGAIN = "draw it again: python -m scripts.picture"


def committed(shot: picture.Shot = picture.SHOTS[0]) -> Image.Image:
    return Image.open(io.BytesIO(shot.path.read_bytes()))


def alike(one: Image.Image, other: Image.Image) -> bool:
    """Whether two pictures look alike from afar: with other fonts a page still does, another page does not."""
    if one.width != other.width or abs(one.height - other.height) > 0.1 * one.height:
        return False
    far = [each.convert("L").filter(ImageFilter.BoxBlur(12)).resize((80, 100)) for each in (one, other)]
    return ImageStat.Stat(ImageChops.difference(*far)).mean[0] < 4


@pytest.mark.slow
def test_the_picture_of_the_demo_is_what_the_demo_prints_now() -> None:
    assert picture.demo() == picture.DEMO.read_text(encoding="utf-8"), AGAIN


@pytest.mark.parametrize("shot", picture.SHOTS, ids=lambda shot: shot.path.stem)
def test_each_picture_of_the_console_is_drawn_from_the_page_and_the_words_of_now(shot: picture.Shot) -> None:
    assert committed(shot).info[picture.DRAWN_FROM] == picture.drawn_from(shot), AGAIN


def test_docs_has_no_other_picture_of_the_console() -> None:
    assert set(picture.ROOT.glob("docs/console-*")) == {shot.path for shot in picture.SHOTS}


@pytest.mark.slow
@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_each_picture_of_the_console_is_what_a_browser_shows_now() -> None:
    for shot, content in picture.pictures().items():
        now, then = Image.open(io.BytesIO(content)), committed(shot)
        assert picture.but_hidden(now.info[picture.SHOWS]) == picture.but_hidden(then.info[picture.SHOWS]), AGAIN
        assert alike(now, then), AGAIN


def test_another_wording_or_another_style_needs_another_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    [shot, *_] = picture.SHOTS
    before = picture.drawn_from(shot)
    with monkeypatch.context() as other:
        other.setattr("waha_mcp.console.waiting.clock", lambda moment: "soon")
        assert picture.drawn_from(shot) != before
    style = pages.source("console.css")
    monkeypatch.setitem(pages._environment().globals, "source", lambda file: style.replace("1.5rem", "1.4rem"))
    assert picture.drawn_from(shot) != before


def test_a_picture_of_something_else_is_not_alike() -> None:
    page = committed().convert("RGB")
    half = page.copy()
    half.paste((255, 255, 255), (0, page.height // 2, page.width, page.height))
    assert alike(page, page)
    assert not alike(page, half)
    assert not alike(page, Image.new("RGB", page.size, (255, 255, 255)))
    assert not alike(page, page.crop((0, 0, page.width, page.height // 2)))
