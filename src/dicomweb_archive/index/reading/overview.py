"""Overview: what the archive holds, summed over the rows of studies, as far as the caller may see them.

Nothing here touches segments or instances: studies carry the counts of what lies below them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import orjson

from dicomweb_archive.index.access import Visibility, visible
from dicomweb_archive.index.database.engine import Database

_DAY_SECONDS = 86_400

# Sums up the studies in one pass, by what is in them; collections have some hundred kinds of content at most.
SUM_STUDIES = f"""
select st.modalities, count(*)::int8 as studies, sum(st.series_count)::int8 as series,
  sum(st.instance_count)::int8 as instances, sum(st.size_bytes)::int8 as size_bytes,
  min(st.study_date) filter (where st.study_date >= 0) as first_date, max(st.study_date) as last_date
from study st where {visible("st")} group by st.modalities
"""  # noqa: S608 - composed of constants

# Counts patients by their identifier; studies without one are nobody's.
COUNT_PATIENTS = f"""
select count(*) from (select from study st where {visible("st")} and st.patient_id <> '' group by st.patient_id) one
"""  # noqa: S608 - composed of constants

# Lists the studies that came last; ids grow in the order of first storing.
FIND_LATEST = f"""
select st.study_instance_uid, st.attributes, st.modalities, st.instance_count, st.created_at
from study st where {visible("st")} order by st.id desc limit $4
"""  # noqa: S608 - composed of constants

# Reads how large some studies are, which answers of a search do not say.
FIND_SIZES = f"""
select st.study_instance_uid, st.size_bytes from study st
where {visible("st")} and st.study_instance_uid = any($4::text[])
"""  # noqa: S608 - composed of constants


@dataclass(frozen=True, slots=True)
class Summary:
    """The archive in figures.

    Attributes:
        modalities: in how many studies each one occurs, most frequent first.
        first_date, last_date: of the studies that have a date.
    """

    patients: int
    studies: int
    series: int
    instances: int
    size_bytes: int
    modalities: Sequence[tuple[str, int]]
    first_date: date | None
    last_date: date | None


@dataclass(frozen=True, slots=True)
class LatestStudy:
    """A study as it came; `attributes` are those of its row in the DICOM JSON model."""

    study_instance_uid: str
    attributes: Mapping[str, Any]
    modalities: Sequence[str]
    instance_count: int
    created_at: datetime


class OverviewIndex:
    """Sums up what may be seen."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def summarise(self, visibility: Visibility) -> Summary:
        """Sum up all visible studies, at the cost of reading every row of `study` twice.

        Raises:
            QueryTooExpensiveError: there are so many that it ran into the time limit of searches.
            DatabaseUnavailableError: trying again later may help.
        """
        async with self._database.search_connection() as connection:
            rows = await connection.fetch(SUM_STUDIES, *visibility.parameters())
            patients = await connection.fetchval(COUNT_PATIENTS, *visibility.parameters())
        return _summary(rows, patients)

    async def latest(self, visibility: Visibility, limit: int) -> Sequence[LatestStudy]:
        """Return the studies that came last, newest first."""
        async with self._database.search_connection() as connection:
            rows = await connection.fetch(FIND_LATEST, *visibility.parameters(), limit)
        return [LatestStudy(**{**row, "attributes": orjson.loads(row["attributes"])}) for row in rows]

    async def sizes(self, visibility: Visibility, study_instance_uids: Sequence[str]) -> Mapping[str, int]:
        """Return the bytes of these studies; what may not be seen is left out."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(FIND_SIZES, *visibility.parameters(), list(study_instance_uids))
        return {row["study_instance_uid"]: row["size_bytes"] for row in rows}


def _summary(rows: Sequence[Mapping[str, Any]], patients: int) -> Summary:
    modalities: Counter[str] = Counter()
    for row in rows:
        modalities.update(dict.fromkeys(row["modalities"], row["studies"]))
    first = [row["first_date"] for row in rows if row["first_date"] is not None]
    last = [row["last_date"] for row in rows if row["last_date"] >= 0]
    return Summary(
        patients=patients,
        studies=sum(row["studies"] for row in rows),
        series=sum(row["series"] for row in rows),
        instances=sum(row["instances"] for row in rows),
        size_bytes=sum(row["size_bytes"] for row in rows),
        modalities=sorted(modalities.items(), key=lambda entry: (-entry[1], entry[0])),
        first_date=_day(min(first, default=None)),
        last_date=_day(max(last, default=None)),
    )


def _day(seconds: float | None) -> date | None:
    """Read a date of the index, in seconds (see `dicom/comparable_values.normalise`)."""
    return None if seconds is None else date.fromordinal(int(seconds // _DAY_SECONDS))
