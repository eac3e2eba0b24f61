"""Resources of the Studies Service: identifiers and frame numbers in paths, and the URLs in answers (PS3.18 10.1)."""

import re
from dataclasses import dataclass
from typing import Final

from dicomweb_archive.errors import InvalidRequestError

# Components with leading zeros break PS3.5 9.1 but exist in the field and can be stored, so they are found too.
_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_UID_LENGTH: Final = 64
_FRAME = re.compile(r"[0-9]{1,9}")
_BULK_PATH = re.compile(r"[0-9A-F]{8}(?:/[0-9]{1,9}/[0-9A-F]{8})*")
_BULK_PATH_LENGTH: Final = 2048


def is_uid(text: str) -> bool:
    """Tell whether a text can be a UID: ASCII digits in dotted components, at most 64 characters (PS3.5 9.1)."""
    return len(text) <= _UID_LENGTH and _UID.fullmatch(text) is not None


def parse_uid(text: str, name: str) -> str:
    """Check a UID of a resource path; `name` is what it stands for, e.g. `"study"`.

    Raises:
        InvalidRequestError: it is no UID; the text is not repeated.
    """
    if not is_uid(text):
        raise InvalidRequestError(
            f"the {name} in the path is not a UID: digits and dots, at most 64 characters (PS3.5 9.1)"
        )
    return text


def parse_frames(text: str, *, at_most: int = 10_000) -> tuple[int, ...]:
    """Read a list of frame numbers, counted from 1 (PS3.18 10.1.1); the order asked for is kept.

    Raises:
        InvalidRequestError: a member is missing, not a number, zero, or repeated, or there are too many.
    """
    members = text.split(",", at_most)
    if len(members) > at_most:
        raise InvalidRequestError(f"more than {at_most} frames in one request")
    if not all(map(_FRAME.fullmatch, members)):
        raise InvalidRequestError("the frame list is not made of positive numbers separated by commas")
    frames = tuple(map(int, members))
    if 0 in frames:
        raise InvalidRequestError("frame numbers begin with 1")
    if len(set(frames)) != len(frames):
        raise InvalidRequestError("the frame list names a frame twice")
    return frames


def parse_bulk_path(text: str) -> str:
    """Check the path of a bulkdata element: tags with item numbers from 0 between them, as in metadata.

    Raises:
        InvalidRequestError: it has another grammar.
    """
    if len(text) > _BULK_PATH_LENGTH or not _BULK_PATH.fullmatch(text):
        raise InvalidRequestError("the path behind bulkdata/ is not one that metadata has named")
    return text


@dataclass(frozen=True, slots=True)
class ServiceRoot:
    """Builds the URLs of resources below the base URI of the service (PS3.18 8.2).

    Args:
        url: address of the service as the client knows it, without a trailing slash.
    """

    url: str

    def study(self, study: str) -> str:
        """URL of a study."""
        return f"{self.url}/studies/{study}"

    def series(self, study: str, series: str) -> str:
        """URL of a series."""
        return f"{self.url}/studies/{study}/series/{series}"

    def instance(self, study: str, series: str, instance: str) -> str:
        """URL of an instance."""
        return f"{self.url}/studies/{study}/series/{series}/instances/{instance}"

    def frames(self, study: str, series: str, instance: str, frames: tuple[int, ...]) -> str:
        """URL of some frames of an instance."""
        return f"{self.instance(study, series, instance)}/frames/{','.join(map(str, frames))}"

    def bulkdata(self, study: str, series: str, instance: str, path: str) -> str:
        """URL of one bulk value; `path` as in `BulkValue.path`."""
        return f"{self.instance(study, series, instance)}/bulkdata/{path}"

    def warning(self, text: str, code: str = "299") -> str:
        """Write the value of a Warning header (PS3.18 8.3.4; RFC 7234 5.5).

        The standard prints `299 <service>: text`, which is no valid header; the text is quoted here.
        """
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'{code} {self.url} "{escaped}"'
