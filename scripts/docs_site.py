"""The hook of `mkdocs build` (named in mkdocs.yml) with the rules that mkdocs lacks.

Pages link to files of the repository relatively, as GitHub expects; in the site these links lead to GitHub. A link to a
missing file, and a resource that a built page would load from another host, are warnings, which fail a strict build.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))["repository"]["url"]

#: The target of a link or picture that leads out of docs/, without the anchor.
_OUTWARD = re.compile(r"(?<=\]\()\.\./([^)#\s]+)")
#: What a browser loads without a click; `a` and `form` load only on one.
_LOADED = {"src", "href", "data", "poster"}
_FOLLOWED = {"a", "area", "form", "base"}
_ELSEWHERE = re.compile(r"(?:https?:)?//", re.IGNORECASE)
_CSS = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^\"')\s]+", re.IGNORECASE)

# mkdocs counts the warnings of loggers below this name.
logger = logging.getLogger("mkdocs.hooks.docs_site")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Point links out of docs/ to the repository."""
    name = page.file.src_uri

    def led(link: re.Match[str]) -> str:
        target = PurePosixPath(link[1])
        if not (ROOT / target).exists():
            logger.warning("%s links to ../%s, which is not there", name, target)
        kind = "tree" if (ROOT / target).is_dir() else "blob"
        return f"{REPOSITORY}/{kind}/main/{target}"

    return _OUTWARD.sub(led, markdown)


def on_post_build(*, config: Any, **_: Any) -> None:
    """Look for resources of other hosts in everything that was built."""
    site = Path(config["site_dir"])
    for path in sorted(site.rglob("*")):
        if path.suffix in (".html", ".css", ".svg"):
            for resource in resources_elsewhere(path.read_text(encoding="utf-8")):
                logger.warning("%s loads %s", path.relative_to(site), resource)


def resources_elsewhere(text: str) -> Iterator[str]:
    """What a page, a picture or a style sheet would load from another host."""
    yield from _CSS.findall(text)
    parser = _Resources()
    parser.feed(text)
    yield from parser.found


class _Resources(HTMLParser):
    """Collects what is loaded from another host."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in _FOLLOWED:
            self.found += [
                f"{tag} {name}={value}"
                for name, value in attributes
                if name in _LOADED and value and _ELSEWHERE.match(value.strip())
            ]
