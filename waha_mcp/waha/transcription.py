"""Transcription of voice notes with the App's `transcriber`, a command or URL. Off by default."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import anyio

from waha_mcp.app.transcriber import Transcriber
from waha_mcp.log import without_secrets

#: Time limit in seconds, and the maximum characters of a transcript.
TIMEOUT, MOST_TEXT = 120.0, 100_000


class NotTranscribed(Exception):
    """Transcription failed. The message is a clause for the agent."""


async def transcribe(transcriber: Transcriber, audio: bytes, ending: str) -> str:
    """Transcribe an audio file. `ending` is its file name extension, such as `.oga`.

    Raises:
        NotTranscribed: the transcriber could not be run, failed, timed out or gave no usable answer.
    """
    try:
        with anyio.fail_after(TIMEOUT):
            if transcriber.command is not None:
                text = await _by_command(transcriber.command, audio, ending)
            else:
                text = await _by_url(transcriber, audio, ending)
    except TimeoutError:
        raise NotTranscribed(f"the transcriber took more than {TIMEOUT:.0f} s") from None
    except OSError as error:
        raise NotTranscribed(f"the audio cannot be written to a file ({error.strerror or 'unknown reason'})") from None
    return text.strip()[:MOST_TEXT]


async def _by_command(command: list[str], audio: bytes, ending: str) -> str:
    with tempfile.TemporaryDirectory(prefix="waha-mcp-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / f"voice{ending}"
        await anyio.Path(path).write_bytes(audio)
        words = [word.replace("{file}", str(path)) for word in command]
        if words == command:
            words.append(str(path))
        # Keep our keys out of the program's environment.
        env = without_secrets(os.environ)
        try:
            done = await anyio.run_process(words, check=False, env=env, stdin=subprocess.DEVNULL)
        except OSError as error:
            raise NotTranscribed(f"the transcriber cannot be started ({error.strerror or 'unknown reason'})") from None
    if done.returncode != 0:
        raise NotTranscribed(f"the transcriber failed (exit code {done.returncode})")
    return done.stdout.decode("utf-8", "replace")


async def _by_url(transcriber: Transcriber, audio: bytes, ending: str) -> str:
    import httpx  # slow to import, and needed only for a transcriber with a URL

    key = os.environ.get(transcriber.key_env or "", "")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False) as http:
        try:
            answer = await http.post(
                f"{transcriber.url}/audio/transcriptions",
                headers=headers,
                data={"model": transcriber.model, "response_format": "json"},
                files={"file": (f"voice{ending}", audio)},
            )
            text = answer.json()["text"] if answer.is_success else None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
            raise NotTranscribed("the transcriber's URL gave no usable answer") from None
    if not isinstance(text, str):
        raise NotTranscribed(f"the transcriber's URL answered {answer.status_code}")
    return text
