"""Representatives: what the index knows of series and instances, at one query each."""

import pytest
from tests.factories import ROOT, ct_series, identified, image, part10
from tests.stored import pack_of, segment_of

from dicomweb_archive.dicom.representative import rank_instances
from dicomweb_archive.errors import GoneError, NotFoundError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.reading.instances import InstanceIndex
from dicomweb_archive.index.reading.representatives import RepresentativeIndex
from dicomweb_archive.index.scope import Scope
from dicomweb_archive.index.writing.register import Register
from dicomweb_archive.index.writing.removal import Removal

EVERYTHING = Visibility()
NOTHING = Visibility(spaces=(99,))
STUDY, SERIES = Scope(f"{ROOT}.1"), Scope(f"{ROOT}.1", f"{ROOT}.1.1")


@pytest.fixture
def index(database: Database) -> RepresentativeIndex:
    return RepresentativeIndex(database)


async def store(database: Database, *series: list[bytes]) -> None:
    await Register(database).register([pack_of(segment_of(files)) for files in series], actor="tester")


async def test_a_revision_changes_with_what_is_stored_and_only_then(database: Database, index: RepresentativeIndex):
    await store(database, ct_series(2))
    study, series = [await index.revision(scope, EVERYTHING) for scope in (STUDY, SERIES)]
    assert [await index.revision(scope, EVERYTHING) for scope in (STUDY, SERIES)] == [study, series]
    await store(database, ct_series(2, series=2))
    assert await index.revision(STUDY, EVERYTHING) != study
    assert await index.revision(SERIES, EVERYTHING) == series
    await store(database, ct_series(4)[2:])
    assert await index.revision(SERIES, EVERYTHING) != series


async def test_what_is_hidden_or_not_there_has_no_revision(database: Database, index: RepresentativeIndex):
    await store(database, ct_series(2))
    for scope in (STUDY, SERIES):
        with pytest.raises(NotFoundError):
            await index.revision(scope, NOTHING)
        assert await index.series(scope, NOTHING) == []
    for scope in (Scope("1.2"), Scope(f"{ROOT}.1", "1.2")):
        with pytest.raises(NotFoundError):
            await index.revision(scope, EVERYTHING)
    await Removal(database, InstanceIndex(database)).delete_study(f"{ROOT}.1", EVERYTHING, actor="tester")
    with pytest.raises(GoneError):
        await index.revision(STUDY, EVERYTHING)


async def test_series_are_outlined_by_their_number(database: Database, index: RepresentativeIndex):
    report = part10(identified(series=1, Modality="SR"))
    varying = [
        part10(image(series=2, instance=n, Rows=16, ImageType=["ORIGINAL", "PRIMARY", f"KIND{n}"])) for n in (1, 2)
    ]
    await store(database, varying, [report], ct_series(2, series=3))
    first, second, third = await index.series(STUDY, EVERYTHING)
    assert (first.modality, first.has_rows) == ("SR", False)
    assert (second.has_rows, second.image_type) == (True, ("ORIGINAL", "PRIMARY", "KIND1"))
    assert (third.has_rows, third.image_type) == (True, ("ORIGINAL", "PRIMARY", "AXIAL"))
    (only,) = await index.series(Scope(f"{ROOT}.1", f"{ROOT}.1.3"), EVERYTHING)
    assert only == third


async def test_instances_are_outlined_with_what_varies_and_what_does_not(
    database: Database, index: RepresentativeIndex
):
    await store(database, ct_series(5))
    await store(database, [part10(image(instance=6, TotalPixelMatrixColumns=700))])
    (series,) = await index.series(SERIES, EVERYTHING)
    outlines = await index.instances(series.id)
    assert [outline.number for outline in outlines] == [1, 2, 3, 4, 5, 6]
    assert {outline.image_type for outline in outlines} == {("ORIGINAL", "PRIMARY", "AXIAL")}
    assert [outline.width for outline in outlines] == [None] * 5 + [700]
    middle = rank_instances(outlines, "CT")[0]
    assert await index.sop_instance_uid(middle) == f"{ROOT}.1.1.3"
    assert await index.sop_instance_uid(middle._replace(position=99)) is None


async def test_of_very_many_segments_those_in_the_middle_are_looked_at(database: Database, index: RepresentativeIndex):
    for data in ct_series(70):
        await store(database, [data])
    (series,) = await index.series(SERIES, EVERYTHING)
    outlines = await index.instances(series.id)
    assert len(outlines) == 64
    assert rank_instances(outlines, "CT")[0].number in (34, 35, 36)
