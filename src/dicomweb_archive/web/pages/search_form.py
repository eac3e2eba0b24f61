"""The search form of the home page: its fields -> the parameters of a search for studies (PS3.18 8.3.4)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from dicomweb_archive.dicom.query import Level
from dicomweb_archive.dicom.tags import is_private_creator, keyword_like, parse_tag
from dicomweb_archive.errors import InvalidParameterError
from dicomweb_archive.wire.attribute_paths import AttributeNames, UnknownAttributeError
from dicomweb_archive.wire.free_text import parse_text
from dicomweb_archive.wire.search_limits import SearchLimits
from dicomweb_archive.wire.search_parameters import parse_search

PAGE_SIZES: Final = (25, 50, 100)
MOST_CONDITIONS: Final = 10
_MOST_WORDS: Final = 7
_MOST_OFFSET: Final = 10_000_000

_REPEATED: Final = frozenset({"tag", "value"})
_ONCE: Final = frozenset({"patient", "text", "from", "to", "modality", "limit", "offset", "as", "more"})
_LEAST: Final = {"limit": 1, "offset": 0}

_SEPARATORS = re.compile(r"[\s,^]+")
_UINT = re.compile(r"[0-9]{1,8}")
_GROUP_AND_ELEMENT = re.compile(r"\(?\s*([0-9A-Fa-f]{4})\s*,\s*([0-9A-Fa-f]{4})\s*\)?")

Pairs = list[tuple[str, str]]


@dataclass(slots=True)
class Condition:
    """One attribute that must match, as typed, and what is wrong with it."""

    tag: str = ""
    value: str = ""
    error: str = ""

    @property
    def is_blank(self) -> bool:
        """Whether nothing was typed."""
        return not self.tag and not self.value

    @property
    def name(self) -> str:
        """The attribute as a search names it: `(0018,0050)` and `slicethickness` are understood too."""
        plain = _GROUP_AND_ELEMENT.sub(r"\1\2", self.tag)
        return ".".join(keyword_like(member) or member for member in plain.split("."))


@dataclass(slots=True)
class SearchForm:
    """What was typed, what it asks for, and what is wrong with it.

    Attributes:
        since, until: days as typed; browsers send them as `YYYY-MM-DD`.
        text: words that any attribute may have.
        reading: how the patient's text was taken on the page before, so that paging stays within one search.
        errors: messages by name of the field.
    """

    patient: str = ""
    since: str = ""
    until: str = ""
    modality: str = ""
    text: str = ""
    conditions: list[Condition] = field(default_factory=list)
    limit: int = PAGE_SIZES[0]
    offset: int = 0
    reading: str = ""
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def is_valid(self) -> bool:
        """Whether every field could be understood."""
        return not self.errors and not any(condition.error for condition in self.conditions)

    @property
    def is_blank(self) -> bool:
        """Whether nothing is searched for."""
        return not (self.patient or self.text or self.since or self.until or self.modality or self.has_conditions)

    @property
    def has_conditions(self) -> bool:
        """Whether any attribute was asked for."""
        return any(not condition.is_blank for condition in self.conditions)

    def error(self, name: str) -> str:
        """Return the message of a field, nothing when it is right."""
        return self.errors.get(name, "")

    def query(self, *, offset: int = 0, reading: str = "") -> str:
        """Write the form as the query of a link to another page of its results."""
        pairs = [("patient", self.patient), ("from", self.since), ("to", self.until), ("modality", self.modality)]
        pairs.append(("text", self.text))
        for condition in self.conditions:
            if not condition.is_blank:
                pairs += [("tag", condition.tag), ("value", condition.value)]
        if self.limit != PAGE_SIZES[0]:
            pairs.append(("limit", str(self.limit)))
        if offset:
            pairs += [("offset", str(offset)), ("as", reading)]
        # A condition keeps its place by name and value both, even if one is empty.
        return urlencode([(name, text) for name, text in pairs if text or name in ("tag", "value")])

    def searches(self) -> Iterator[tuple[str, Pairs]]:
        """Yield the parameters of the searches that the form may mean, with their reading, likeliest first."""
        shared = [*self._dates(), *([("ModalitiesInStudy", self.modality)] if self.modality else [])]
        shared += [("text", self.text)] if self.text else []
        shared += [(condition.name, condition.value) for condition in self.conditions if not condition.is_blank]
        shared += [("limit", str(self.limit)), ("offset", str(self.offset))]
        if not self.patient:
            yield "", shared
        for reading, pair in _readings(self.patient):
            if self.reading in ("", reading):
                yield reading, [pair, *shared]

    def _dates(self) -> Pairs:
        bounds = [_parse_day(text) for text in (self.since, self.until)]
        if bounds == [None, None]:
            return []
        return [("StudyDate", "-".join(f"{day:%Y%m%d}" if day else "" for day in bounds))]


def read_form(parameters: QueryParams, limits: SearchLimits) -> SearchForm:
    """Read what was typed; what cannot be understood is noted beside its field, never raised."""
    form = SearchForm(
        patient=_text(parameters, "patient"),
        since=_text(parameters, "from"),
        until=_text(parameters, "to"),
        modality=_text(parameters, "modality").upper(),
        text=_text(parameters, "text"),
        conditions=_conditions(parameters),
        limit=_bounded(parameters, "limit", PAGE_SIZES[0], PAGE_SIZES[-1]) or PAGE_SIZES[0],
        offset=_bounded(parameters, "offset", 0, _MOST_OFFSET),
        reading=_text(parameters, "as"),
    )
    _check_address(form, parameters)
    _check_days(form)
    _check_text(form)
    _check_conditions(form, limits)
    if form.is_valid:
        _check_whole(form, limits)
    return form


def _text(parameters: QueryParams, name: str) -> str:
    # NUL can be in no value of the index.
    return parameters.get(name, "").replace("\0", "").strip()


def _bounded(parameters: QueryParams, name: str, default: int, most: int) -> int:
    text = parameters.get(name, "")
    return min(int(text), most) if _UINT.fullmatch(text) else default


def _conditions(parameters: QueryParams) -> list[Condition]:
    tags, values = parameters.getlist("tag"), parameters.getlist("value")
    longest = min(MOST_CONDITIONS, max(len(tags), len(values)))
    padded = [[text.replace("\0", "").strip() for text in texts] + [""] * longest for texts in (tags, values)]
    return [Condition(tag, value) for tag, value in zip(padded[0][:longest], padded[1][:longest], strict=True)]


def _parse_day(text: str) -> date | None:
    """Read `YYYY-MM-DD` or `YYYYMMDD`; nothing when it is neither."""
    digits = text.replace("-", "")
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:])) if re.fullmatch("[0-9]{8}", digits) else None
    except ValueError:
        return None


def _check_address(form: SearchForm, parameters: QueryParams) -> None:
    """Say what the form never sends and somebody wrote: left out silently, it would find other studies than meant."""
    most = {"limit": PAGE_SIZES[-1], "offset": _MOST_OFFSET}
    for name in parameters:
        texts = parameters.getlist(name)
        if name not in _ONCE and name not in _REPEATED:
            form.errors["form"] = "The address has a parameter that is no field of this form; see “Any other attribute”"
        elif name in _ONCE and len(texts) > 1:
            form.errors["form"] = f"The address may have {name} once"
        elif name in _REPEATED and len(texts) > MOST_CONDITIONS:
            form.errors["form"] = f"There may be at most {MOST_CONDITIONS} attributes"
        elif name in most and texts[0] and not _is_number(texts[0], _LEAST[name], most[name]):
            form.errors["form"] = f"{name} in the address must be a number from {_LEAST[name]} to {most[name]}"
    if form.patient and not any(form.searches()):
        form.errors["form"] = "The address names a page of another search; leave “as” out of it"


def _is_number(text: str, least: int, most: int) -> bool:
    return _UINT.fullmatch(text) is not None and least <= int(text) <= most


def _check_days(form: SearchForm) -> None:
    for name, text in (("from", form.since), ("to", form.until)):
        if text and _parse_day(text) is None:
            form.errors[name] = "This is not a day; write it as 2024-01-31"
    since, until = _parse_day(form.since), _parse_day(form.until)
    if since and until and since > until:
        form.errors["to"] = "This day lies before the first one"


def _check_text(form: SearchForm) -> None:
    try:
        parse_text(form.text or "any")
    except InvalidParameterError as error:
        form.errors["text"] = str(error)


def _check_conditions(form: SearchForm, limits: SearchLimits) -> None:
    """Try each condition for itself, so that the message stands beside the field that it is about."""
    pairs = [(condition.name, condition.value) for condition in form.conditions if not condition.is_blank]
    for condition in form.conditions:
        if not condition.is_blank:
            condition.error = _error_of(condition, pairs, limits)


def _error_of(condition: Condition, pairs: Pairs, limits: SearchLimits) -> str:
    name = condition.name
    if not name:
        return "Name the attribute that should have this value"
    asked = [(name, condition.value), *(pair for pair in pairs if pair[0] != name and _is_creator(pair[0]))]
    try:
        AttributeNames(asked, depth=limits.depth).parse(name)
        warnings = parse_search(asked, Level.STUDY, limits=limits).warnings
    except UnknownAttributeError:
        return "No such attribute is known; write a keyword like SliceThickness, or its tag like 00180050"
    except InvalidParameterError as error:
        return str(error)
    return "Its values are too large to be searched" if any(name in text for text in warnings) else ""


def _is_creator(name: str) -> bool:
    """Tell whether a condition says whose a private block is, which the name of a private attribute needs."""
    try:
        return is_private_creator(parse_tag(name.rpartition(".")[2]))
    except ValueError:
        return False


def _check_whole(form: SearchForm, limits: SearchLimits) -> None:
    """Try all fields together: each may be right and two of them ask for the same attribute."""
    try:
        for _, pairs in form.searches():
            parse_search(pairs, Level.STUDY, limits=limits)
    except InvalidParameterError as error:
        form.errors["patient" if "Patient" in error.parameter else "form"] = str(error)


def _readings(text: str) -> Sequence[tuple[str, tuple[str, str]]]:
    """Tell what a text in the field for patients may mean: a name in either order, or the beginning of an ID."""
    if not text:
        return ()
    if "*" in text or "?" in text:
        names = [("name", text)]
        identifier = text
    else:
        words = [word for word in _SEPARATORS.split(text) if word][:_MOST_WORDS]
        names = [("name", f"*{'*'.join(words)}*")]
        if len(words) > 1:
            names.append(("reversed", f"*{'*'.join(reversed(words))}*"))
        identifier = f"{text}*"
    by_name = [(reading, ("PatientName", pattern)) for reading, pattern in names]
    by_identifier = [("id", ("PatientID", identifier))]
    has_digits = any(character.isdigit() for character in text)
    return by_identifier + by_name if has_digits else by_name + by_identifier
