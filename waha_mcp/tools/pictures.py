"""Pictures, made small enough for an agent to look at. Scaling needs Pillow, the extra `media`."""

from __future__ import annotations

import io
import warnings
from typing import NamedTuple

#: Pixels of the longer side, of the whole picture that is read at most, and bytes of what is shown.
LONG_SIDE, MOST_PIXELS, MOST_BYTES = 1_568, 80_000_000, 1_000_000
#: What agents can look at.
SHOWN = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")


class Picture(NamedTuple):
    """A picture as it is shown. `size` is the original's, in pixels, where it is known."""

    data: bytes
    mimetype: str
    size: tuple[int, int] | None


class NotShown(Exception):
    """Why a picture cannot be shown, in words for the agent."""


def shown(data: bytes, mimetype: str | None) -> Picture:
    """The picture, scaled down when large; without Pillow only what is small as it is.

    Raises:
        NotShown: it is broken, too large, or of a kind that needs Pillow.
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
