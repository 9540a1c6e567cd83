"""The App's `transcriber` field: a local command or an OpenAI-compatible URL that turns voice notes into text."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from waha_mcp.app.urls import parse_base


class Transcriber(BaseModel):
    """Settings of the transcriber: exactly one of `command` and `url`.

    `command` gets the audio file's path in place of `{file}`, else as its last argument, and prints the text. `url` is
    the base URL, without `/audio/transcriptions`; `key_env` names the environment variable with its API key.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    command: Annotated[list[str], Field(min_length=1)] | None = None
    url: Annotated[str, AfterValidator(parse_base)] | None = None
    model: str = "whisper-1"
    key_env: str | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Transcriber:
        if (self.command is None) == (self.url is None):
            raise ValueError('must have exactly one of command = ["program", "{file}"] and url = "http://..."')
        return self
