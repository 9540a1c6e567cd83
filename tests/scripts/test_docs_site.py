"""The site's own rules: links out of docs/ lead to the repository, and nothing is loaded from another host."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from scripts import docs_site

PAGE = SimpleNamespace(file=SimpleNamespace(src_uri="page.md"))


def test_a_link_out_of_docs_leads_to_the_repository() -> None:
    markdown = "[the key](../SECURITY.md#keys), [examples](../examples/apps), [here](safety.md), ![it](demo.svg)"
    led = docs_site.on_page_markdown(markdown, page=PAGE)
    there = docs_site.REPOSITORY
    assert led == (
        f"[the key]({there}/blob/main/SECURITY.md#keys), [examples]({there}/tree/main/examples/apps), "
        "[here](safety.md), ![it](demo.svg)"
    )


def test_a_link_to_a_file_that_is_not_there_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        docs_site.on_page_markdown("[gone](../nowhere.md)", page=PAGE)
    assert "page.md links to ../nowhere.md" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://cdn.example/a.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/a.css">',
        '<img alt="" src=http://pictures.example/a.png>',
        "<iframe src='HTTPS://video.example'></iframe>",
        "@font-face { src: url('https://fonts.example/a.woff2') }",
        '@import "https://fonts.example/a.css";',
        '<p style="background: url(//pictures.example/a.png)">',
    ],
)
def test_a_resource_of_another_host_is_found(text: str) -> None:
    assert list(docs_site.resources_elsewhere(text))


@pytest.mark.parametrize(
    "text",
    [
        '<a href="https://example.com">read</a>',
        '<img src="../demo.svg">',
        '<svg xmlns="http://www.w3.org/2000/svg"><use href="#a"/></svg>',
        "body { background: url(data:image/png;base64,AA//BB) }",
    ],
)
def test_a_link_or_a_resource_of_the_site_is_none(text: str) -> None:
    assert list(docs_site.resources_elsewhere(text)) == []
