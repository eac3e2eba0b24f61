"""Query parameters of WADO-URI, the service of one address for any instance (PS3.18 9.1.2, 9.4.1, 9.5.1)."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.wire.header_fields import parse_media_type, split_list
from dicomweb_archive.wire.media_types import DICOM, Acceptable, MediaRange, parse_accept
from dicomweb_archive.wire.query_strings import single_parameters, warnings_of_unknown
from dicomweb_archive.wire.rendering import MAXIMUM_VIEWPORT, RenderingParameters, parse_rendering
from dicomweb_archive.wire.resources import is_uid

_REQUIRED: Final = ("requestType", "studyUID", "seriesUID", "objectUID")
_OF_ALL: Final = ("contentType", "charset")
_OF_DICOM: Final = ("transferSyntax", "anonymize")
# `annotation` is what editions before 2019 called it, and what their viewers send.
_OF_PICTURES: Final = (
    "frameNumber", "imageAnnotation", "annotation", "imageQuality", "rows", "columns", "region",
    "windowCenter", "windowWidth", "presentationUID", "presentationSeriesUID",
)  # fmt: skip
_KNOWN: Final = frozenset((*_REQUIRED, *_OF_ALL, *_OF_DICOM, *_OF_PICTURES))
_MOST_MEDIA_TYPES = 16
_FRAME = re.compile(r"[0-9]{1,9}")
_SIZE = re.compile(r"[0-9]{1,5}")
_FRACTION = re.compile(r"[0-9]{0,2}(\.[0-9]{0,16})?", re.ASCII)
# Forms and many libraries write the blank behind a comma as a plus, which no media type begins with.
_BLANKS = re.compile(r"(?<=[,;])\++")
_CHARSET = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")


@dataclass(frozen=True, slots=True)
class Region:
    """The part of an image to show, in fractions of its width and height from its upper left corner."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class UriRequest:
    """What a WADO-URI request asks for.

    Attributes:
        accepted: media types of `contentType` that the Accept header takes; of that header where none is named.
        transfer_syntax: UID, or `*` for the one that is stored; `None` for the default.
        frame: from 1; `None` for the first.
        drawing: how a picture is wanted, but for its region and size.
        size: width and height to fit into; `None` for the size of the source.
        of_pictures, of_dicom: names of parameters given that mean something for such answers only.
        presentation: a presentation state is to be applied.
        warnings: texts for Warning headers: what is asked for and not done.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    accepted: Acceptable
    transfer_syntax: str | None = None
    anonymize: bool = False
    frame: int | None = None
    drawing: RenderingParameters = field(default_factory=RenderingParameters)
    size: tuple[int, int] | None = None
    region: Region | None = None
    presentation: bool = False
    of_pictures: tuple[str, ...] = ()
    of_dicom: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def accepted_dicom(self) -> Acceptable:
        """The DICOM file in the transfer syntax asked for."""
        return Acceptable((), (MediaRange(DICOM, transfer_syntax=self.transfer_syntax),))


def parse_uri_request(pairs: Sequence[tuple[str, str]], accept: str | None) -> UriRequest:
    """Read the decoded parameters and the Accept header of a WADO-URI request.

    Raises:
        InvalidParameterError: one is missing, stands twice, or has a value that breaks its grammar or bounds.
    """
    given = single_parameters(pairs)
    if given.get("requestType", "").upper() != "WADO":
        raise InvalidParameterError("requestType", accepted="WADO")
    study, series, instance = (_uid(given, name) for name in _REQUIRED[1:])
    drawing, warnings = _drawing(given)
    return UriRequest(
        study,
        series,
        instance,
        _accepted(given.get("contentType"), accept),
        _transfer_syntax(given.get("transferSyntax")),
        _anonymize(given.get("anonymize")),
        _frame(given.get("frameNumber")),
        drawing,
        _size(given),
        _region(given.get("region")),
        _presentation(given),
        tuple(name for name in _OF_PICTURES if name in given),
        tuple(name for name in _OF_DICOM if name in given),
        (*warnings, *_charset_warnings(given.get("charset")), *warnings_of_unknown(sorted(given.keys() - _KNOWN))),
    )


def _uid(given: Mapping[str, str], name: str) -> str:
    if not is_uid(given.get(name, "")):
        raise InvalidParameterError(name, accepted="a UID, which is required: digits and dots, at most 64 characters")
    return given[name]


def _accepted(content_type: str | None, accept: str | None) -> Acceptable:
    if content_type is None:
        # One payload is sent, so what the header says of several parts is left out of account.
        return Acceptable((), tuple(each for each in parse_accept(accept).ranges if not each.multipart))
    content_type = _BLANKS.sub("", content_type)
    kinds = {_kind(member) for member in split_list(content_type, at_most=_MOST_MEDIA_TYPES)}
    if len(kinds) != 1:
        # PS3.18 8.7.5: the two kinds are not mixed.
        raise InvalidParameterError("contentType", accepted="application/dicom, or a list of rendered media types")
    # What is named here is wanted and nothing else; an Accept header that takes none of it contradicts it.
    return Acceptable(parse_accept(accept, content_type).preferred, ())


def _kind(text: str) -> bool:
    """Tell whether a member of `contentType` is the DICOM file."""
    parsed = parse_media_type(text)
    if parsed is None or "*" in parsed.type or parsed.parameters.keys() - {"q"}:
        # PS3.18 9.1.2.2.1: transfer syntax and character set have parameters of their own.
        raise InvalidParameterError("contentType", accepted="media types, without wild cards and parameters but q")
    return parsed.type == DICOM


def _transfer_syntax(text: str | None) -> str | None:
    if text is None or text == "*" or is_uid(text):
        return text
    raise InvalidParameterError("transferSyntax", accepted="the UID of one transfer syntax, or * for the stored one")


def _anonymize(text: str | None) -> bool:
    if text not in (None, "yes"):
        raise InvalidParameterError("anonymize", accepted="yes")
    return text is not None


def _frame(text: str | None) -> int | None:
    if text is None:
        return None
    if not _FRAME.fullmatch(text) or int(text) == 0:
        raise InvalidParameterError("frameNumber", accepted="one whole number, from 1")
    return int(text)


def _drawing(given: Mapping[str, str]) -> tuple[RenderingParameters, tuple[str, ...]]:
    """Read window, quality and annotation, which mean what they mean in a rendered resource (PS3.18 8.3.5.1)."""
    pairs = list(_window(given))
    if "imageQuality" in given:
        pairs.append(("quality", given["imageQuality"]))
    annotations = [name for name in ("imageAnnotation", "annotation") if name in given]
    if len(annotations) > 1:
        raise InvalidParameterError("annotation", accepted="either this or imageAnnotation")
    pairs.extend(("annotation", given[name]) for name in annotations)
    names = {
        "quality": ("imageQuality", "an integer from 1 to 100"),
        "annotation": ("".join(annotations), "patient, technique or both, separated by a comma"),
    }
    try:
        asked = parse_rendering(pairs)
    except InvalidParameterError as error:
        name, accepted = names[error.parameter]
        raise InvalidParameterError(name, accepted=accepted) from None
    return asked.parameters, asked.warnings


def _window(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    center, width = given.get("windowCenter"), given.get("windowWidth")
    if center is None and width is None:
        return
    for name, value in (("windowCenter", f"{center},1,linear"), ("windowWidth", f"0,{width},linear")):
        if name not in given:
            raise InvalidParameterError(name, accepted="windowCenter and windowWidth together")
        try:
            parse_rendering([("window", value)])
        except InvalidParameterError:
            raise InvalidParameterError(name, accepted="a number; a width is at least 1") from None
    yield "window", f"{center},{width},linear"


def _size(given: Mapping[str, str]) -> tuple[int, int] | None:
    """Read the largest size; where only one side has a limit the other follows it (PS3.18 9.5.2.5)."""
    sizes = [_one_size(name, given[name]) if name in given else None for name in ("columns", "rows")]
    if sizes == [None, None]:
        return None
    width, height = (MAXIMUM_VIEWPORT if size is None else size for size in sizes)
    return width, height


def _one_size(name: str, text: str) -> int:
    if not _SIZE.fullmatch(text) or not 1 <= int(text) <= MAXIMUM_VIEWPORT:
        raise InvalidParameterError(name, accepted=f"a whole number from 1 to {MAXIMUM_VIEWPORT}")
    return int(text)


def _region(text: str | None) -> Region | None:
    if text is None:
        return None
    parts = text.split(",", 4)
    # A lone dot is no number, although the pattern lets it through.
    if len(parts) == 4 and all(_FRACTION.fullmatch(part) and part.strip(".") for part in parts):
        region = Region(*map(float, parts))
        if region.left < region.right <= 1 and region.top < region.bottom <= 1:
            return region
    raise InvalidParameterError("region", accepted="xmin,ymin,xmax,ymax from 0 to 1, each minimum below its maximum")


def _presentation(given: Mapping[str, str]) -> bool:
    names = ("presentationSeriesUID", "presentationUID")
    if not any(name in given for name in names):
        return False
    for name in names:
        _uid(given, name)
    for name in ("windowCenter", "windowWidth"):
        if name in given:
            raise InvalidParameterError(name, accepted="no window of its own beside a presentation state")
    return True


def _charset_warnings(text: str | None) -> Iterator[str]:
    if text is None:
        return
    names = [each.partition(";")[0].strip() for each in _BLANKS.sub("", text).split(",")]
    if not all(map(_CHARSET.fullmatch, names)):
        raise InvalidParameterError("charset", accepted="a list of character sets")
    if not {"utf-8", "*"} & {name.lower() for name in names}:
        yield "The character set is not converted: instances come as they are stored."


def whole_pixels(region: Region, columns: int, rows: int) -> tuple[int, int, int, int]:
    """Return left, top, width and height of a region in pixels; at least one."""
    left, top = math.floor(region.left * columns), math.floor(region.top * rows)
    right, bottom = round(region.right * columns), round(region.bottom * rows)
    return left, top, max(1, right - left), max(1, bottom - top)
