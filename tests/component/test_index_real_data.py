"""Real series, indexed as they come: metadata equal the scanner's, and rebuilt segments equal fresh ones."""

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

import pytest
from tests.component.test_documents import URL, joined, own_json
from tests.stored import in_pack, pack_of

from dicomweb_archive.dicom.instance import ScannedInstance
from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.dicom.raw_walk import delta_against
from dicomweb_archive.errors import InvalidInstanceError
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.reading.documents import MetadataIndex
from dicomweb_archive.index.reading.instances import InstanceIndex
from dicomweb_archive.index.reading.metadata_answers import Coding
from dicomweb_archive.index.writing.register import Register, Registration
from dicomweb_archive.index.writing.removal import Removal

EVERYTHING = Visibility()


def series_in(folder: Path) -> list[list[ScannedInstance]]:
    """Scan the first files of each series, each UID once, and group by series."""
    series: dict[tuple[str, str], list[ScannedInstance]] = defaultdict(list)
    seen: set[str] = set()
    for path in chosen_from(folder):
        try:
            scanned = scan(path.read_bytes())
        except InvalidInstanceError:
            continue
        if scanned.sop_instance_uid not in seen:
            seen.add(scanned.sop_instance_uid)
            series[scanned.study_instance_uid, scanned.series_instance_uid].append(scanned)
    return list(series.values())


def chosen_from(folder: Path) -> Iterator[Path]:
    """Choose by the manifest: the further slices of a long series add time, not kinds."""
    seen: Counter[tuple[str, str]] = Counter()
    with (folder / "manifest.csv").open(newline="") as file:
        for line in sorted(csv.DictReader(file), key=itemgetter("path")):
            uids = line["study"], line["series"]
            seen[uids] += 1
            if not line["series"] or seen[uids] <= 20:
                yield folder / line["path"]


@pytest.mark.real_data
@pytest.mark.slow
async def test_real_series_come_back_and_survive_the_loss_of_an_instance(database: Database, real_data: Path):
    register, index = Register(database), MetadataIndex(database, kept_root=URL)
    removal = Removal(database, InstanceIndex(database))
    for instances in series_in(real_data):
        first = instances[0]
        shared = [first, *(delta_against(first.base, other) for other in instances[1:])]
        outcome = await register.register([pack_of(in_pack(shared))], actor="tester")
        assert set(outcome.values()) == {Registration.STORED}
        uids = first.study_instance_uid, first.series_instance_uid
        answer = await index.series_metadata(*uids, EVERYTHING, service_root=URL)
        found = {json_uid(text): text for text in split(await joined(answer.encoded(Coding.IDENTITY)))}
        assert found == {each.sop_instance_uid: json.loads(own_json(each)) for each in instances}
        if len(instances) > 1:
            gone = instances[len(instances) // 2].sop_instance_uid
            await removal.delete_instance(*uids, gone, EVERYTHING, actor="tester")
            answer = await index.series_metadata(*uids, EVERYTHING, service_root=URL)
            del found[gone]
            assert {json_uid(text): text for text in split(await joined(answer.encoded(Coding.IDENTITY)))} == found


def split(text: bytes) -> list[dict[str, dict[str, list[str]]]]:
    objects: list[dict[str, dict[str, list[str]]]] = json.loads(text)
    return objects


def json_uid(instance: dict[str, dict[str, list[str]]]) -> str:
    return instance["00080018"]["Value"][0]
