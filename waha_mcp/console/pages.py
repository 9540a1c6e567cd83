"""HTML pages for people, of the console and of OAuth: how they are made, and what a browser is told with each."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from waha_mcp.whatsapp.untrusted import reveal

#: Of all answers to a person's browser: they are kept nowhere, and shown within no other page.
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def as_page(text: str, nonce: str, status: int = 200, *, posts: bool = False, more: str = "") -> HTMLResponse:
    """A whole page, whose style has this nonce. It loads nothing, and can do nothing but what is said here.

    `posts`: it has a form, for this server. `more`: of its policy, each with "; " after it.
    """
    target = "'self'" if posts else "'none'"
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; form-action {target}; {more}base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    headers = HEADERS | {"Content-Security-Policy": policy, "X-Robots-Tag": "noindex"}
    if posts:
        # With no referrer at all, a browser sends no origin with a form, either.
        headers["Referrer-Policy"] = "same-origin"
    return HTMLResponse(text, status, headers)


def rendered(template: str, **values: Any) -> str:
    """A file of `templates/` with these values, which are escaped as they are put in."""
    # A lone surrogate cannot be sent: one that no view has revealed must not cost the whole page.
    return _environment().get_template(template).render(values).encode("utf-8", "replace").decode()


def revealed(text: str) -> str:
    """A text of several lines, with each character in it that hides, turns or commands as its `<U+…>`."""
    return "\n".join(map(reveal, text.split("\n")))


@functools.cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("waha_mcp.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"reveal": reveal, "revealed": revealed}
    made.globals["source"] = source
    return made


@functools.cache
def source(file: str) -> Markup:
    """The style or the script of the console, which stands in its pages as it is."""
    return Markup(resources.files("waha_mcp.console").joinpath(file).read_text(encoding="utf-8"))  # noqa: S704
