"""Transcription of voice notes by an OpenAI-compatible service, over real HTTP."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.serving import serving
from waha_mcp.app.transcriber import Transcriber
from waha_mcp.waha.transcription import NotTranscribed, transcribe

pytestmark = pytest.mark.anyio


@contextmanager
def service(status: int, answer: bytes) -> Iterator[tuple[str, list[tuple[str, str | None, bytes]]]]:
    """A service with one answer; its URL, and what it was asked: path, authorization and body."""
    asked: list[tuple[str, str | None, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.path, self.headers["Authorization"], body))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None: ...

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"http://127.0.0.1:{port}/v1", asked


async def test_the_service_gets_the_audio_its_model_and_its_own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLE_TRANSCRIBER_KEY", "sample-transcriber-key")
    with service(200, b'{"text": " See you on Friday. "}') as (url, asked):
        named = Transcriber(url=url, model="small", key_env="SAMPLE_TRANSCRIBER_KEY")
        assert await transcribe(named, b"the audio", ".oga") == "See you on Friday."
    [(path, authorization, body)] = asked
    assert path == "/v1/audio/transcriptions"
    assert authorization == "Bearer sample-transcriber-key"
    assert b"the audio" in body
    assert b"small" in body


@pytest.mark.parametrize(("status", "answer"), [(500, b"{}"), (401, b"no"), (200, b"not JSON"), (200, b"[]")])
async def test_a_service_that_does_not_answer_with_a_text_is_said_to(status: int, answer: bytes) -> None:
    with service(status, answer) as (url, _), pytest.raises(NotTranscribed):
        await transcribe(Transcriber(url=url), b"the audio", ".oga")


async def test_a_service_that_is_not_there_is_said_to_be() -> None:
    with pytest.raises(NotTranscribed):
        await transcribe(Transcriber(url="http://127.0.0.1:9/v1"), b"the audio", ".oga")


async def test_a_full_disk_is_told_as_no_transcript(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **more: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(NotTranscribed, match="No space left"):
        await transcribe(Transcriber(command=["true"]), b"OggS", ".oga")
