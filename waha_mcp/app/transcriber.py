"""What turns voice notes into text: a local command or an OpenAI-compatible URL, as the App names it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from waha_mcp.app.urls import parse_base


class Transcriber(BaseModel):
    """What the App names: exactly one of `command` and `url`.

    `command` gets the file's path in place of `{file}`, or as its last argument, and prints the text. `url` ends
    before `/audio/transcriptions`; `key_env` names the environment variable that holds its key.
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
