"""Generates small valid files: pictures, voice notes, a video container, documents."""

from __future__ import annotations

import math
import struct
import zlib
from functools import cache


@cache
def png(width: int = 96, height: int = 64, tint: int = 0) -> bytes:
    """A true-colour gradient; `tint` (0..255) shifts its colour."""
    rows = b"".join(
        b"\0" + bytes(part for x in range(width) for part in (x * 255 // width, y * 255 // height, tint))
        for y in range(height)
    )

    return _png(struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), rows)


def bitmap(dark: list[list[bool]], *, scale: int, border: int) -> bytes:
    """A black and white PNG of square dots, `border` dots of white around it."""
    wide = len(dark[0]) + 2 * border
    blank = [[False] * wide] * border
    dots = [*blank, *([False] * border + row + [False] * border for row in dark), *blank]
    rows = b"".join((b"\0" + bytes(0 if dot else 255 for dot in row for _ in range(scale))) * scale for row in dots)
    return _png(struct.pack(">IIBBBBB", wide * scale, len(dots) * scale, 8, 0, 0, 0, 0), rows)


def _png(header: bytes, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# The code lengths of baseline JPEG's usual table for luminance DC: 12 categories.
_DC_COUNTS = bytes([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
_DC_CODES = ["00", "010", "011", "100", "101", "110", "1110", "11110", "111110", "1111110", "11111110", "111111110"]


@cache
def jpeg(blocks_wide: int = 12, blocks_high: int = 8, tint: int = 0) -> bytes:
    """A grey mosaic of 8x8 blocks: a baseline JPEG whose blocks carry only their brightness."""

    def segment(marker: int, data: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data

    bits: list[str] = []
    before = 0
    for y in range(blocks_high):
        for x in range(blocks_wide):
            level = (x * 151 // blocks_wide + y * 97 // blocks_high + tint) % 256 - 128
            step, before = level - before, level
            size = abs(step).bit_length()
            bits.append(_DC_CODES[size])
            if size:
                bits.append(format(step if step > 0 else step + (1 << size) - 1, f"0{size}b"))
            bits.append("0")  # the only AC code: end of block
    stream = "".join(bits)
    stream += "1" * (-len(stream) % 8)
    data = int(stream, 2).to_bytes(len(stream) // 8, "big").replace(b"\xff", b"\xff\0")
    return (
        b"\xff\xd8"
        + segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
        + segment(0xDB, b"\0" + bytes([8]) + bytes([16]) * 63)
        + segment(0xC0, struct.pack(">BHHB", 8, blocks_high * 8, blocks_wide * 8, 1) + b"\1\x11\0")
        + segment(0xC4, b"\0" + _DC_COUNTS + bytes(range(12)))
        + segment(0xC4, b"\x10" + bytes([1]) + bytes(15) + b"\0")
        + segment(0xDA, b"\1\1\0\0\x3f\0")
        + data
        + b"\xff\xd9"
    )


@cache
def wav(seconds: float = 0.5, pitch: int = 440) -> bytes:
    """A sine tone: 8 kHz, 16 bit, mono."""
    samples = b"".join(
        struct.pack("<h", int(9000 * math.sin(2 * math.pi * pitch * n / 8000))) for n in range(int(8000 * seconds))
    )
    header = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16)
    body = b"WAVE" + header + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


@cache
def ogg(frames: int = 50) -> bytes:
    """A voice note: Opus in Ogg, `frames` silent frames of 20 ms."""
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 312, 16000, 0, 0)
    tags = b"OpusTags" + struct.pack("<I", 7) + b"sandbox" + struct.pack("<I", 0)
    silence = b"\x08\xff\xfe"
    return (
        _ogg_page(2, 0, 0, [head])
        + _ogg_page(0, 0, 1, [tags])
        + _ogg_page(4, 960 * frames + 312, 2, [silence] * frames)
    )


def _ogg_page(flags: int, granule: int, number: int, packets: list[bytes]) -> bytes:
    head = struct.pack("<4sBBqIII", b"OggS", 0, flags, granule, 7, number, 0)
    page = bytearray(head + bytes([len(packets)]) + bytes(len(each) for each in packets) + b"".join(packets))
    page[22:26] = struct.pack("<I", _ogg_checksum(bytes(page)))
    return bytes(page)


def _ogg_checksum(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1) ^ 0x04C11DB7 if value & 0x80000000 else value << 1
        value &= 0xFFFFFFFF
    return value


@cache
def mp4() -> bytes:
    """An MP4 container with a little data in it."""
    kind = b"ftyp" + b"isom" + struct.pack(">I", 512) + b"isomiso2mp41"
    data = b"mdat" + bytes(range(256)) * 4
    return b"".join(struct.pack(">I", len(box) + 4) + box for box in (kind, b"free", data))


@cache
def webp() -> bytes:
    """A lossless WebP of one pixel, as a sticker."""
    return b"RIFF\x1a\0\0\0WEBPVP8L\r\0\0\0/\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07\0"


@cache
def pdf(text: str) -> bytes:
    """One page with one line of (ASCII) text."""
    stream = f"BT /F1 14 Tf 40 780 Td ({text}) Tj ET".encode("ascii", "replace")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out = b"%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    start = len(out)
    return (
        out
        + b"xref\n0 6\n0000000000 65535 f \n"
        + table
        + b"trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % start
    )


def vcard(name: str, phone: str) -> str:
    """A contact card as WhatsApp sends them; `phone` is digits."""
    return f"BEGIN:VCARD\nVERSION:3.0\nFN:{name}\nTEL;type=CELL;type=VOICE;waid={phone}:+{phone}\nEND:VCARD"


def sample(mimetype: str) -> bytes:
    """A file of about this type, for media whose bytes the sandbox does not fetch."""
    kind = mimetype.partition(";")[0]
    makers = {
        "image/png": png,
        "image/webp": webp,
        "audio/wav": wav,
        "video/mp4": mp4,
    }
    if kind in makers:
        return makers[kind]()
    if kind.startswith("image/"):
        return jpeg()
    if kind.startswith("audio/"):
        return ogg()
    if kind.startswith("video/"):
        return mp4()
    return pdf("A file that was sent by its URL") if kind == "application/pdf" else b"A file that was sent by its URL\n"
