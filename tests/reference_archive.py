"""The archive that reference searches go through: instances in lists, and what the rows of study and series say."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tests.reference_search import (
    ROW_ZONE,
    SERIES_KEYS,
    STUDY_KEYS,
    UNIQUE,
    ZONE,
    Keys,
    Pairs,
    Plain,
    first_of,
    tag,
)


@dataclass
class Instance:
    """One stored instance."""

    attributes: Plain

    def uid(self, keyword: str) -> str:
        """Return a unique key."""
        return str(self.attributes[tag(keyword)][1][0])

    def text(self, keyword: str) -> str:
        """Return the values of an attribute, joined; empty when there are none."""
        return "\\".join(map(str, self.attributes.get(tag(keyword), ("", []))[1]))


@dataclass
class Study:
    """A study with its instances as they arrived."""

    instances: list[Instance] = field(default_factory=list)
    collection: int = 1

    def series(self) -> dict[str, list[Instance]]:
        """Return the instances by series."""
        found: dict[str, list[Instance]] = {}
        for instance in self.instances:
            found.setdefault(instance.uid("SeriesInstanceUID"), []).append(instance)
        return found


@dataclass
class ReferenceArchive:
    """Studies in the order of their arrival.

    Attributes:
        study_facts, series_facts: attributes about which instances of a study (of a series) may disagree.
    """

    study_facts: tuple[str, ...]
    series_facts: tuple[str, ...]
    studies: list[Study] = field(default_factory=list)
    _views: "list[tuple[Study, Instance, Plain]]" = field(default_factory=list)

    def add(self, study: Study) -> None:
        """Take in a study."""
        self.studies.append(study)
        self._views.clear()

    def search(
        self,
        level: str,
        pairs: Pairs,
        *,
        study: str | None = None,
        series: str | None = None,
        collections: tuple[int, ...] | None = None,
        passes: Callable[[Plain], bool] = bool,
    ) -> set[str]:
        """Return the unique keys of all entities of a level that match, pass a filter and may be seen."""
        keys = Keys(pairs)
        unique = UNIQUE[level]
        return {
            instance.uid(unique)
            for owner, instance, view in self._all_views()
            if (collections is None or owner.collection in collections)
            and study in (None, instance.uid("StudyInstanceUID"))
            and series in (None, instance.uid("SeriesInstanceUID"))
            and keys.hold(instance.attributes, view)
            and passes(view)
        }

    def forget(self, uid: str) -> None:
        """Leave out a study, series or instance."""
        for study in self.studies:
            study.instances = [i for i in study.instances if uid not in map(i.uid, UNIQUE.values())]
        self.studies = [study for study in self.studies if study.instances]
        self._views.clear()

    def changed(self) -> None:
        """Look at everything anew."""
        self._views.clear()

    def series_of(self, uid: str) -> str:
        """Return the series of an instance."""
        return next(i.uid(UNIQUE["series"]) for _, i, _ in self._all_views() if i.uid(UNIQUE["instance"]) == uid)

    def fields(self, level: str, uid: str) -> Plain:
        """Return the data set of an instance, or of that which says what the row of a study does."""
        if level == "instance":
            return next(i.attributes for _, i, _ in self._all_views() if i.uid(UNIQUE[level]) == uid)
        study = next(s for s in self.studies if uid in {i.uid(UNIQUE[level]) for i in s.instances})
        return self._row(study.instances, self.study_facts)

    def views(self, level: str) -> "dict[str, list[Plain]]":
        """Return what the instances below each entity of a level say."""
        found: dict[str, list[Plain]] = {}
        for _, instance, view in self._all_views():
            found.setdefault(instance.uid(UNIQUE[level]), []).append(view)
        return found

    def order(self, level: str) -> dict[str, Any]:
        """Return what each entity is sorted by, of studies and series: lower comes first."""
        places: dict[str, Any] = {}
        for number, study in enumerate(self.studies):
            day = first_of(self._row(study.instances, self.study_facts), tag("StudyDate"))
            place = (-day if isinstance(day, Fraction) else 1, -number)
            places[study.instances[0].uid("StudyInstanceUID")] = place
            for uid, instances in study.series().items() if level == "series" else ():
                number_in_study = first_of(self._row(instances, self.series_facts), tag("SeriesNumber"))
                places[uid] = (*place, float("inf") if number_in_study is None else number_in_study)
        return places

    def _all_views(self) -> "list[tuple[Study, Instance, Plain]]":
        """Every instance as keys see it: with the values of the rows of its study and series."""
        if not self._views:
            for study in self.studies:
                row = self._study_row(study) | {ROW_ZONE: self._zone(study)}
                for instances in study.series().values():
                    both = row | self._series_row(instances)
                    self._views += [(study, i, i.attributes | both) for i in instances]
        return self._views

    def _row(self, instances: Sequence[Instance], facts: Sequence[str]) -> Plain:
        """What most instances say, of equals the oldest."""
        said = Counter(tuple(map(instance.text, facts)) for instance in instances)
        most = said.most_common(1)[0][0]
        elected = next(instance for instance in instances if tuple(map(instance.text, facts)) == most)
        return {tag(name): elected.attributes.get(tag(name), ("UN", [])) for name in facts}

    def _zone(self, study: Study) -> tuple[str, list[Any]]:
        return self._row(study.instances, self.study_facts)[ZONE]

    def _study_row(self, study: Study) -> Plain:
        row = self._row(study.instances, self.study_facts)
        rows = [self._row(instances, self.series_facts) for instances in study.series().values()]
        modalities = {value for row in rows for value in row[tag("Modality")][1] if value}
        classes = {instance.uid("SOPClassUID") for instance in study.instances}
        counts = {"NumberOfStudyRelatedSeries": len(rows), "NumberOfStudyRelatedInstances": len(study.instances)}
        row[tag("ModalitiesInStudy")] = ("CS", sorted(modalities))
        row[tag("SOPClassesInStudy")] = ("UI", sorted(classes))
        row |= {tag(name): ("IS", [count]) for name, count in counts.items()}
        return {number: row[number] for number in map(tag, STUDY_KEYS) if number in row}

    def _series_row(self, instances: Sequence[Instance]) -> Plain:
        row = self._row(instances, self.series_facts)
        row[tag("NumberOfSeriesRelatedInstances")] = ("IS", [len(instances)])
        return {number: row[number] for number in map(tag, SERIES_KEYS) if number in row}
