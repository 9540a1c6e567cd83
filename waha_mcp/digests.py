"""Digests: by what a text is known where the text itself is not kept."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import SecretStr


def digest(text: str) -> str:
    """The SHA-256 of a text, in hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def key_digest(key: SecretStr) -> str:
    """What a key is known by."""
    return digest(key.get_secret_value())
