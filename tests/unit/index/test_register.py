"""What takes long to be made ready for the index is made ready by a thread."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from pydicom.dataset import Dataset
from tests.factories import image, part10

from dicomweb_archive.dicom.part10 import scan
from dicomweb_archive.dicom.raw_walk import delta_against
from dicomweb_archive.index.writing import register as module
from dicomweb_archive.index.writing.register import PackRecord, Register, StoredInstance


class Database:
    """Knows a secret and has no connection."""

    async def term_secret(self) -> bytes:
        return bytes(32)


@pytest.mark.parametrize(("items", "by_thread"), [(1, False), (2_000, True)])
async def test_an_instance_that_differs_in_much_is_made_ready_by_a_thread(
    items: int, by_thread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def build(packs: Sequence[PackRecord], *_: Any) -> list[Any]:
        threads.append(threading.current_thread())
        return []

    monkeypatch.setattr(module, "_build", build)
    item = Dataset()
    item.AccessionNumber = "1"
    other = scan(part10(image(instance=2, ReferencedStudySequence=[item] * items)))
    varying = delta_against(scan(part10(image(instance=1))).base, other)
    stored = StoredInstance(varying, 0, other.size_bytes, bytes(32))
    await Register(Database()).register([PackRecord("key", 1, [[stored]])], actor="somebody")  # type: ignore[arg-type]
    assert [thread is not threading.main_thread() for thread in threads] == [by_thread]
