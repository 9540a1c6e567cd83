"""The App's `transcriber` field: a local command or an OpenAI-compatible URL that turns voice notes into text."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from waha_mcp.app.urls import parse_base


class Transcriber(BaseModel):
    """What turns voice notes into text: exactly one of `command` and `url`."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    #: A program that prints the text. It gets the audio file's path in place of `{file}`, or as its last argument.
    command: Annotated[list[str], Field(min_length=1)] | None = None
    #: Base URL of an OpenAI-compatible service, without `/audio/transcriptions`.
    url: Annotated[str, AfterValidator(parse_base)] | None = None
    #: The service's model.
    model: str = "whisper-1"
    #: Environment variable with the service's API key.
    key_env: str | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Transcriber:
        if (self.command is None) == (self.url is None):
            raise ValueError('must have exactly one of command = ["program", "{file}"] and url = "http://..."')
        return self
