"""Detects MIME types by the first bytes of a file."""

from __future__ import annotations

import re

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"OggS", "audio/ogg"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\xff\xf3", "audio/mpeg"),
    (0, b"\xff\xf1", "audio/aac"),
    (0, b"\xff\xf9", "audio/aac"),
    (0, b"fLaC", "audio/flac"),
    (0, b"#!AMR", "audio/amr"),
    (8, b"WAVE", "audio/wav"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypqt", "video/quicktime"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (8, b"AVI ", "video/x-msvideo"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"MZ", "application/x-msdownload"),
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"\xca\xfe\xba\xbe", "application/x-mach-binary"),
    (0, b"dex\n", "application/x-dex"),
)
#: MIME types of executables.
PROGRAMS = frozenset(
    {"application/x-msdownload", "application/x-executable", "application/x-mach-binary", "application/x-dex"}
)
PROGRAM_NAMES = (
    *(".exe", ".com", ".scr", ".bat", ".cmd", ".msi", ".ps1", ".vbs", ".js", ".jse", ".wsf", ".hta", ".lnk", ".jar"),
    *(".apk", ".dmg", ".pkg", ".app", ".deb", ".rpm", ".sh", ".reg"),
)


def sniff(data: bytes) -> str | None:
    """The MIME type by the first bytes; None if unknown."""
    for offset, signature, mimetype in _SIGNATURES:
        if data[offset : offset + len(signature)] == signature:
            # Text may begin with "MZ", too.
            return None if signature == b"MZ" and b"\0" not in data[:64] else mimetype
    return None


_PAGE_STARTS = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<title")


def is_web_page(data: bytes) -> bool:
    """Whether a file begins as an HTML page does."""
    start = re.sub(rb"\A(?:\xef\xbb\xbf|\s|<!--.*?-->|<\?xml.*?\?>)*", b"", data[:4_096], flags=re.DOTALL)
    return start.lower().startswith(_PAGE_STARTS)


def is_text(data: bytes) -> bool:
    """Whether a file is text: UTF-8, or UTF-16 with a byte order mark, without control characters."""
    return _decoded(data) is not None


def text_of_file(data: bytes) -> str:
    """Decode a file for which `is_text` is True."""
    return _decoded(data) or ""


def _decoded(data: bytes) -> str | None:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if any(c < " " and c not in "\t\n\r\f\x1b" for c in text[:10_000]) else text
