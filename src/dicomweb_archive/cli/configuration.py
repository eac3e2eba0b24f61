"""Settings as a command reads them, and as a supervisor hands them to its workers."""

from typing import Any

import orjson
from pydantic import SecretStr, ValidationError

from dicomweb_archive.errors import SetupError
from dicomweb_archive.settings import Settings


def read_settings(**given: Any) -> Settings:
    """Read the settings; what was given on the command line (not `None`) wins.

    Raises:
        SetupError: one of them does not fit; the message names it and never shows its value.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise SetupError(_explain(error)) from None


def encode_settings(settings: Settings) -> bytes:
    """Return the settings as one line of JSON, secrets included: for a pipe to a worker, never for a log."""
    return orjson.dumps(settings.model_dump(), default=_plain)


def decode_settings(line: bytes) -> Settings:
    """Read what `encode_settings` wrote; neither environment nor file has a say."""
    return Settings.model_validate(orjson.loads(line))


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def _explain(error: ValidationError) -> str:
    """Say what is wrong without the values, which may be secret."""
    lines = []
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        # What concerns several settings at once has no place.
        name = "".join(f"DICOMWEB_ARCHIVE_{place}: ".upper() for place in problem["loc"][:1])
        lines.append(f"  {name}{problem['msg'].removeprefix('Value error, ')}")
    return "The settings cannot be used:\n" + "\n".join(lines) + "\nSee docs/settings.md"
