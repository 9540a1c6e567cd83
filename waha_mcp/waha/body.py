"""Reads the body of an HTTP answer, with a size limit on the compressed and the decompressed bytes."""

from __future__ import annotations

import zlib

import httpx


class BodyError(Exception):
    """The body is not usable."""


class TooMuch(BodyError):
    """The body exceeds the cap."""


class Packed(BodyError):
    """The body has a compression other than gzip."""


class Damaged(BodyError):
    """The compressed data is damaged or truncated."""


async def read_body(response: httpx.Response, cap: int) -> bytes:
    """Read a streamed answer's body and decompress gzip; at most `cap` bytes, both before and after.

    Raises:
        BodyError: too large, compressed otherwise, or damaged.
        httpx.TransportError: the connection broke.
    """
    encodings = response.headers.get("content-encoding", "").lower().replace(" ", "")
    if encodings not in ("", "identity", "gzip", "x-gzip"):
        raise Packed
    unpack = zlib.decompressobj(16 + zlib.MAX_WBITS) if encodings.endswith("gzip") else None
    chunks: list[bytes] = []
    received = size = 0
    try:
        async for raw in response.aiter_raw():
            received += len(raw)
            chunk = raw if unpack is None else unpack.decompress(raw, cap - size + 1)
            size += len(chunk)
            if max(received, size) > cap:
                raise TooMuch
            chunks.append(chunk)
    except zlib.error:
        raise Damaged from None
    if unpack is not None and received and not unpack.eof:
        raise Damaged
    return b"".join(chunks)
