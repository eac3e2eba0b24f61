"""Instances of a request are read without holding up everybody else."""

import threading
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from tests.factories import ct_series, image, part10

from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.services.intake import Intake


class WatchedBytes(bytes):
    """Bytes that note in which thread they are compared."""

    threads: set[threading.Thread]

    def startswith(self, *arguments: Any) -> bool:
        self.threads.add(threading.current_thread())
        return super().startswith(*arguments)


def watched(data: bytes) -> WatchedBytes:
    found = WatchedBytes(data)
    found.threads = set()
    return found


def frames(instance: int) -> bytes:
    items = []
    for number in range(400):
        item = Dataset()
        item.NominalCardiacTriggerDelayTime = 1.5 * number + instance
        item.ImageComments = "x" * 200
        items.append(item)
    return part10(image(instance=instance, PerFrameFunctionalGroupsSequence=Sequence(items)))


async def test_further_instances_of_a_series_share_the_attributes_of_the_first() -> None:
    intake = Intake()
    first, *others = [await intake.scan(data) for data in ct_series(3)]
    assert all(other.base is first.base for other in others)
    assert others[1].attributes() == scan(ct_series(3)[2]).attributes()


async def test_small_attributes_are_compared_at_once_whatever_the_size_of_the_pixels() -> None:
    intake = Intake()
    first, second = ct_series(2, rows=400, columns=400)
    await intake.scan(first)
    data = watched(second)
    await intake.scan(data)
    assert data.threads == {threading.main_thread()}


async def test_large_attributes_are_compared_in_a_thread() -> None:
    intake = Intake()
    await intake.scan(frames(1))
    data = watched(frames(2))
    scanned = await intake.scan(data)
    assert data.threads
    assert threading.main_thread() not in data.threads
    assert scanned.attributes() == scan(frames(2)).attributes()
