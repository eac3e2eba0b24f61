"""The kinds of searches that are timed, as a client writes them: path and query string, with changing values."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import quote

from benchmarks.search_scale.headers import (
    FIRST_DAY,
    PROTOCOLS_PER_SCANNER,
    SCANNERS,
    WEIGHTINGS,
    Shape,
    in_use_from,
    maker_of,
    protocol_name,
    series_of_study,
    sop_instance_uid,
    study_of,
)

_DIFFERENT: Final = 40
"""Values a kind goes through; more often than that a value comes again."""


@dataclass(frozen=True, slots=True)
class Archive:
    """What was built: as many studies of this shape."""

    shape: Shape
    studies: int

    def picked(self, salt: int = 0) -> Iterator[int]:
        """Yield numbers of studies spread over all."""
        for part in range(_DIFFERENT):
            yield (part * 7_919 + salt * 104_729 + self.studies * part // _DIFFERENT) % self.studies


Kind = Callable[[Archive], list[str]]


def _search(resource: str, *parameters: tuple[str, str]) -> str:
    return f"/{resource}?" + "&".join(f"{name}={quote(value, safe='*')}" for name, value in parameters)


def _studies(archive: Archive, *names: str) -> list[str]:
    """Search studies by attributes of studies that exist."""
    urls = []
    for number in archive.picked():
        study = study_of(number)
        values = {
            "StudyInstanceUID": study.uid,
            "PatientID": study.patient_id,
            "AccessionNumber": study.accession_number,
            "PatientName": study.patient_name,
        }
        urls.append(_search("studies", *((name, values[name]) for name in names)))
    return urls


def _names(archive: Archive, write: Callable[[str], str], *more: tuple[str, str]) -> list[str]:
    surnames = (study_of(number).patient_name.partition("^")[0] for number in archive.picked())
    return [_search("studies", ("PatientName", write(name)), *more, ("limit", "100")) for name in surnames]


def _days(archive: Archive, days: int, *more: tuple[str, str]) -> list[str]:
    urls = []
    for part in range(_DIFFERENT):
        begin = FIRST_DAY + timedelta(part * 130)
        span = f"{begin:%Y%m%d}-{begin + timedelta(days):%Y%m%d}"
        urls.append(_search("studies", ("StudyDate", span), *more, ("limit", "100")))
    return urls


def _clocks(seconds: int, *more: tuple[str, str], resource: str = "studies") -> list[str]:
    urls = []
    for part in range(_DIFFERENT):
        begin = 6 * 3600 + part * 1_200
        low, high = (f"{at // 3600:02}{at // 60 % 60:02}{at % 60:02}" for at in (begin, min(begin + seconds, 86_399)))
        urls.append(_search(resource, ("SeriesTime", f"{low}-{high}"), *more, ("limit", "100")))
    return urls


def _by_scanner(name: str, write: Callable[[int], str], *more: tuple[str, str], first: int = 0) -> list[str]:
    scanners = (first + part % min(_DIFFERENT, SCANNERS - first) for part in range(_DIFFERENT))
    return [_search("studies", (name, write(scanner)), *more, ("limit", "100")) for scanner in scanners]


def _filtered(write: Callable[[int], str], resource: str = "studies") -> list[str]:
    return [_search(resource, ("filter", write(part)), ("limit", "100")) for part in range(_DIFFERENT)]


def _retired() -> list[int]:
    """Scanners that were taken down long ago: their studies are the last ones in the order of an answer."""
    return [scanner for scanner in range(SCANNERS) if -800 < in_use_from(scanner) < 0]


def _series_paths(archive: Archive) -> Iterator[tuple[str, str]]:
    for number in archive.picked():
        series = series_of_study(number, archive.shape.series_per_study)[0]
        yield study_of(number).uid, series.uid


def _private_name(scanner: int) -> tuple[tuple[str, str], ...]:
    maker = maker_of(scanner).split()[0].upper()
    return (("00430010", f"{maker}_PARM_01"), ("00431003", str(scanner % 12)))


KINDS: Final[dict[str, Kind]] = {
    "study by UID": lambda a: _studies(a, "StudyInstanceUID"),
    "patient ID": lambda a: _studies(a, "PatientID"),
    "accession number": lambda a: _studies(a, "AccessionNumber"),
    "name prefix": lambda a: _names(a, lambda name: f"{name[:5]}*"),
    "name substring": lambda a: _names(a, lambda name: f"*{name[1:5]}*"),
    "name fuzzy": lambda a: _names(a, lambda name: name[:6], ("fuzzymatching", "true")),
    "first page": lambda _: [_search("studies", ("limit", "101"))],
    "deep offset": lambda a: [
        _search("studies", ("limit", "100"), ("offset", str(a.studies * (50 + part) // 100))) for part in range(30)
    ],
    "date range": lambda a: _days(a, 28),
    "date and modality": lambda a: _days(a, 365, ("ModalitiesInStudy", "MR")),
    "one rare value": lambda a: [
        _search("studies", ("PerformedProcedureStepID", f"PPS{number}.0")) for number in a.picked()
    ],
    "one rare protocol": lambda _: [
        _search("studies", ("ProtocolName", protocol_name((150 + part) * PROTOCOLS_PER_SCANNER + 4)))
        for part in range(_DIFFERENT)
    ],
    "one common value": lambda _: _by_scanner("Manufacturer", maker_of),
    "two common values": lambda _: _by_scanner("Manufacturer", maker_of, ("KVP", "120")),
    "three values": lambda _: _by_scanner("Manufacturer", maker_of, ("KVP", "120"), ("BodyPartExamined", "HEAD")),
    "value only in old studies": lambda _: [
        _search("studies", ("StationName", f"STATION{scanner:03}"), ("limit", "100")) for scanner in _retired()
    ],
    "two values never together": lambda _: _by_scanner(
        "StationName", lambda scanner: f"STATION{scanner:03}", ("DeviceSerialNumber", "SN00000"), first=1
    ),
    "absent value": lambda _: _by_scanner("StationName", lambda scanner: f"NOWHERE{scanner}"),
    "OR": lambda _: _filtered(lambda part: f"Manufacturer='{maker_of(part)}' OR KVP={(80, 100, 120)[part % 3]}"),
    "AND NOT": lambda _: _filtered(lambda part: f"Manufacturer='{maker_of(part)}' AND NOT (BodyPartExamined='HEAD')"),
    "number range, narrow": lambda _: _filtered(lambda part: f"TableHeight BETWEEN {100 + part} AND {100.05 + part}"),
    "number range, broad": lambda _: _filtered(lambda part: f"SliceThickness BETWEEN 1 AND {2 + part % 3}"),
    "time range, a minute": lambda _: _clocks(60),
    "time range, an hour": lambda _: _clocks(3600),
    "time range, six hours": lambda _: _clocks(6 * 3600),
    "text prefix": lambda _: [
        _search("studies", ("ProtocolName", f"{WEIGHTINGS[part % 8]} {('HEAD', 'CHEST', 'KNEE')[part % 3]}*"))
        for part in range(_DIFFERENT)
    ],
    "text substring, rare": lambda _: [
        _search("studies", ("ProtocolName", f"*{part * 25:04}*")) for part in range(_DIFFERENT)
    ],
    "text substring, common": lambda _: [
        _search("studies", ("SeriesDescription", f"*{part}*"), ("limit", "100"))
        for part in ("AX", "COR", "LUNG", "CHEST", "SPINE")
    ],
    "free text of rare words": lambda a: [
        _search("studies", ("text", f"{study.patient_id} {study.patient_name.partition('^')[0]}"), ("limit", "100"))
        for study in (study_of(number) for number in a.picked())
    ],
    "free text of common words": lambda _: [
        _search("studies", ("text", words), ("limit", "100"))
        for words in ("axial head", "cor knee", "lung", "chest routine", "original primary")
    ],
    "nested key": lambda _: [
        _search(
            "studies", ("RequestAttributesSequence.ScheduledProcedureStepDescription", f"Step {part}"), ("limit", "100")
        )
        for part in range(_DIFFERENT)
    ],
    "private key": lambda _: [_search("studies", *_private_name(part), ("limit", "100")) for part in range(_DIFFERENT)],
    "empty value": lambda _: [
        _search("studies", ("ScanOptions", '""'), ("emptyvaluematching", "true"), ("limit", "100"))
    ],
    "series of a study": lambda a: [_search(f"studies/{study}/series") for study, _ in _series_paths(a)],
    "instances of a series": lambda a: [
        _search(f"studies/{study}/series/{series}/instances") for study, series in _series_paths(a)
    ],
    "instance by UID": lambda a: [
        _search("instances", ("SOPInstanceUID", sop_instance_uid(series, 1))) for _, series in _series_paths(a)
    ],
    "series by key": lambda _: [
        _search("series", ("ConvolutionKernel", kernel), ("limit", "100")) for kernel in ("BONE", "LUNG", "Br40")
    ],
    "series by rare key": lambda _: [
        _search("series", ("ProtocolName", protocol_name((150 + part) * PROTOCOLS_PER_SCANNER + 4)))
        for part in range(_DIFFERENT)
    ],
    "instances by varying value": lambda _: [
        _search("instances", ("XRayTubeCurrent", str(120 + 5 * (part % 23))), ("limit", "100"))
        for part in range(_DIFFERENT)
    ],
    "instances by position": lambda _: [
        _search("instances", ("SliceLocation", str(-100 - part)), ("limit", "100")) for part in range(_DIFFERENT)
    ],
    "instances deep": lambda a: [
        _search(
            "instances",
            ("limit", "50"),
            ("offset", str(a.studies * a.shape.series_per_study * a.shape.series_length * (50 + part) // 100)),
        )
        for part in range(30)
    ],
    "count of a common value": lambda _: _by_scanner("Manufacturer", maker_of, ("count", "exact")),
    "count of two common values": lambda _: _by_scanner("Manufacturer", maker_of, ("KVP", "120"), ("count", "exact")),
}
"""By name; some need parameters that a release may lack, and are left out then."""
