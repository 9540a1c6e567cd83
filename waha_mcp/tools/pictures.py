"""Scales pictures down for agents. Needs Pillow (the extra `media`)."""

from __future__ import annotations

import io
import warnings
from typing import NamedTuple

#: Longest side of a shown picture in pixels, most pixels of one that is decoded, most bytes of one that is shown.
LONG_SIDE, MOST_PIXELS, MOST_BYTES = 1_568, 80_000_000, 1_000_000
#: The MIME types that agents accept.
SHOWN = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")


class Picture(NamedTuple):
    """A picture for the agent. `size`: width and height of the original in pixels, if known."""

    data: bytes
    mimetype: str
    size: tuple[int, int] | None


class NotShown(Exception):
    """The picture cannot be shown. The text says why, for the agent."""


def shown(data: bytes, mimetype: str | None) -> Picture:
    """The picture, scaled down if it is large; without Pillow only small ones, unchanged.

    Raises:
        NotShown: broken, too large, or a format that needs Pillow.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError:
        if mimetype in SHOWN and len(data) <= MOST_BYTES:
            return Picture(data, mimetype, None)
        raise NotShown(
            "the picture is too large to show as it is; installing waha-mcp[media] lets it be scaled down"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                size = image.size
                if size[0] * size[1] > MOST_PIXELS:
                    raise NotShown(f"the picture has {size[0]} x {size[1]} pixels, too many to open")
                if max(size) <= LONG_SIDE and len(data) <= MOST_BYTES and mimetype in SHOWN:
                    return Picture(data, mimetype, size)
                image.draft("RGB", (LONG_SIDE, LONG_SIDE))
                small = ImageOps.exif_transpose(image).convert("RGB")
                small.thumbnail((LONG_SIDE, LONG_SIDE))
                out = io.BytesIO()
                small.save(out, "JPEG", quality=80, optimize=True)
                return Picture(out.getvalue(), "image/jpeg", size)
    except NotShown:
        raise
    except Exception:  # Pillow raises whatever a broken file makes it stumble over
        raise NotShown("the picture is broken, or of a kind that cannot be read here") from None
