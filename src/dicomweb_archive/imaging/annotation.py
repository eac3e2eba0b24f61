"""Annotation: text burned into the corners of a picture (PS3.18 8.3.5.1.1).

Of what is written here nothing may be logged or told in an error: it names a patient.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset
from pydicom.valuerep import PersonName

_MOST_CHARACTERS = 64
_SMALLEST, _LARGEST = 10, 48


class Annotation(NamedTuple):
    """Lines of text by the corner that they stand in."""

    top_left: Sequence[str] = ()
    top_right: Sequence[str] = ()
    bottom_left: Sequence[str] = ()
    bottom_right: Sequence[str] = ()


def annotation_of(header: Dataset, wanted: Iterable[str], frame: int) -> Annotation:
    """Choose the lines: `patient` tells whose image it is, `technique` what was done and which image it is.

    Args:
        frame: number of the frame, from 1.
    """
    annotation = Annotation()
    for kind in wanted:
        if kind == "patient":
            annotation = annotation._replace(top_left=_lines(_patient(header)))
        else:
            annotation = annotation._replace(
                top_right=_lines(_study(header)),
                bottom_left=_lines(_image(header, frame)),
                bottom_right=_lines(_technique(header)),
            )
    return annotation


def annotate(image: Image.Image, annotation: Annotation) -> Image.Image:
    """Return the picture with the lines in its corners, white with a black edge, so that they show on anything."""
    annotated = image.copy()
    size = min(max(min(image.size) // 30, _SMALLEST), _LARGEST)
    font = _font(size)
    draw = ImageDraw.Draw(annotated)
    margin, width, height = size // 2, *image.size
    white, black = ((255, 255, 255), (0, 0, 0)) if image.mode == "RGB" else (255, 0)
    places = {
        (margin, margin, "la", "left"): annotation.top_left,
        (width - margin, margin, "ra", "right"): annotation.top_right,
        (margin, height - margin, "ld", "left"): annotation.bottom_left,
        (width - margin, height - margin, "rd", "right"): annotation.bottom_right,
    }
    for (x, y, anchor, align), lines in places.items():
        if lines:
            text = "\n".join(map(_drawable, lines))
            draw.text(
                (x, y), text, fill=white, font=font, anchor=anchor, align=align,
                stroke_width=max(size // 12, 1), stroke_fill=black,
            )  # fmt: skip
    return annotated


_PLAIN: Final = str.maketrans(
    dict(zip("øłđðħŧıØŁĐÐĦŦ", "olddhtiOLDDHT", strict=True))
    | {"ß": "ss", "æ": "ae", "œ": "oe", "þ": "th", "Æ": "AE", "Œ": "OE", "Þ": "Th"}
)


def _drawable(line: str) -> str:
    """Return a line in letters that the font has: no accents, and of other scripts nothing but boxes."""
    decomposed = unicodedata.normalize("NFKD", line.translate(_PLAIN))
    return "".join(character for character in decomposed if not unicodedata.combining(character))


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _patient(header: Dataset) -> Iterator[str]:
    yield _name(header)
    yield _text(header, "PatientID")
    born, sex = _date(header, "PatientBirthDate"), _text(header, "PatientSex")
    yield "  ".join(filter(None, (born, sex)))


def _study(header: Dataset) -> Iterator[str]:
    yield " ".join(filter(None, (_date(header, "StudyDate"), _time(header, "StudyTime"))))
    yield _text(header, "StudyDescription")
    yield _text(header, "SeriesDescription")


def _image(header: Dataset, frame: int) -> Iterator[str]:
    yield _text(header, "Modality")
    yield _labelled("Se", _text(header, "SeriesNumber"))
    number = _labelled("Im", _text(header, "InstanceNumber"))
    frames = _text(header, "NumberOfFrames")
    yield f"{number} Fr {frame}/{frames}".strip() if frames not in ("", "1") else number
    yield _labelled("Pos", "\\".join(_short(part) for part in _values(header, "ImagePositionPatient")))


def _technique(header: Dataset) -> Iterator[str]:
    for keyword, form in _MEASURES:
        value = _text(header, keyword)
        yield form.format(_short(value)) if value else ""


_MEASURES = (
    ("KVP", "{} kV"),
    ("XRayTubeCurrent", "{} mA"),
    ("RepetitionTime", "TR {} ms"),
    ("EchoTime", "TE {} ms"),
    ("SliceThickness", "{} mm"),
)


def _lines(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(line[:_MOST_CHARACTERS] for line in lines if line)


def _labelled(label: str, value: str) -> str:
    return f"{label} {value}" if value else ""


def _name(header: Dataset) -> str:
    """Return the name as it is read; the font knows the letters of the alphabetic form (PS3.5 6.2.1.1)."""
    name = header.get("PatientName")
    if not isinstance(name, PersonName):
        return ""
    parts = [_printable(part) for part in (name.family_name, name.given_name, name.middle_name)]
    return ", ".join(filter(None, (parts[0], " ".join(filter(None, parts[1:])))))


def _text(header: Dataset, keyword: str) -> str:
    return next((_printable(value) for value in _values(header, keyword)), "")


def _values(header: Dataset, keyword: str) -> list[str]:
    """Return the values as texts; what is no plain value is none."""
    value = header.get(keyword)
    values = value if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]
    return [str(each) for each in values if each is not None and str(each)]


def _printable(text: str) -> str:
    """Leave out what would break the line or turn its direction."""
    return "".join(character for character in str(text) if unicodedata.category(character)[0] != "C").strip()


def _short(number: str) -> str:
    try:
        return f"{float(number):.6g}"
    except ValueError:
        return _printable(number)


def _date(header: Dataset, keyword: str) -> str:
    text = _text(header, keyword)
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}" if len(text) == 8 and text.isdigit() else text


def _time(header: Dataset, keyword: str) -> str:
    text = _text(header, keyword)
    return f"{text[:2]}:{text[2:4]}" if text[:4].isdigit() and len(text) >= 4 else text
