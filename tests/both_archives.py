"""The archive and the reference with the same in them: filled, changed and merged together."""

import random
from dataclasses import dataclass, field
from io import BytesIO

from pydicom import Dataset, config, dcmread
from tests.factories import part10
from tests.generated_searches import SEARCHES
from tests.generated_studies import SERIES_LEVEL_VARIED, STUDY_LEVEL_VARIED, studies
from tests.reference_archive import Instance, ReferenceArchive, Study
from tests.reference_search import UNIQUE, in_own_zone, plain
from tests.stored import in_pack, pack_of, sharing_base

from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.reading.instances import InstanceIndex
from dicomweb_archive.index.upkeep.merging import SegmentMerger
from dicomweb_archive.index.writing.register import Register
from dicomweb_archive.index.writing.removal import Removal

STUDIES = 12 if SEARCHES <= 100 else 40
EVERYTHING = Visibility()


@dataclass
class Both:
    """The archive, and the reference with the same in it."""

    database: Database
    reference: ReferenceArchive
    chance: random.Random
    late: list[tuple[Study, list[Dataset]]] = field(default_factory=list)

    @classmethod
    async def begun(cls, database: Database, seed: int) -> "Both":
        """Fill an empty archive."""
        both = cls(database, ReferenceArchive(STUDY_LEVEL_VARIED, SERIES_LEVEL_VARIED), random.Random(seed))
        async with database.transaction() as connection:
            await connection.execute("insert into collection (id, accession, title) values (2, 'two', 'Two')")
        await both.fill(seed, STUDIES)
        return both

    async def fill(self, seed: int, count: int, first: int = 1) -> None:
        """Store generated studies through the register, and give them to the reference as pydicom reads them."""
        with config.disable_value_validation():
            generated = list(studies(seed, count, first))
        for number, requests in enumerate(generated, first):
            study = Study(collection=2 if number % 4 == 3 else 1)
            kept = len(requests) - (self.chance.random() < 0.3 and len(requests) > 1)
            for request in requests[:kept]:
                await self.store(study, request)
            self.late += [(study, request) for request in requests[kept:]]
            self.reference.add(study)
        await self.analyze()

    async def store(self, study: Study, request: list[Dataset]) -> None:
        """Store instances of one series in one request."""
        with config.disable_value_validation():
            files = [part10(dataset) for dataset in request]
            read = [plain(dcmread(BytesIO(data))) for data in files]
        await Register(self.database).register(
            [pack_of(in_pack(sharing_base(map(scan, files))))], actor="tester", collection_id=study.collection
        )
        study.instances += [Instance(in_own_zone(attributes)) for attributes in read]

    async def change(self, seed: int) -> None:
        """Delete this and that, let late instances and studies arrive, and merge segments."""
        for study in list(self.reference.studies):
            await self._delete_of(study)
        for study, request in self.late:
            if study in self.reference.studies:
                await self.store(study, request)
        self.late = []
        self.reference.changed()
        await SegmentMerger(self.database, quiet_seconds=-1, cold_seconds=-1).merge()
        await self.fill(seed, STUDIES // 4, first=STUDIES + 1)

    async def _delete_of(self, study: Study) -> None:
        removal = Removal(self.database, InstanceIndex(self.database))
        gone = self.chance.choice(list(study.series().values()))
        uids = [gone[0].uid(UNIQUE["study"]), gone[0].uid(UNIQUE["series"])]
        match self.chance.random():
            case chosen if chosen < 0.08:
                await removal.delete_study(uids[0], EVERYTHING, actor="tester")
                self.reference.forget(uids[0])
            case chosen if chosen < 0.16:
                await removal.delete_series(uids[0], uids[1], EVERYTHING, actor="tester")
                self.reference.forget(uids[1])
            case chosen if chosen < 0.5:
                for instance in self.chance.sample(gone, min(3, len(gone))):
                    own = instance.uid(UNIQUE["instance"])
                    await removal.delete_instance(uids[0], uids[1], own, EVERYTHING, actor="tester")
                    self.reference.forget(own)

    async def analyze(self) -> None:
        """Let the database count what is common, as it does by itself in time."""
        async with self.database.connection() as connection:
            await connection.execute("analyze")

    @property
    def instances(self) -> list[Instance]:
        """Everything that is stored."""
        return [instance for study in self.reference.studies for instance in study.instances]
