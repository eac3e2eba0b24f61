"""What is chosen for many instances of which some have no form that is accepted."""

import asyncio
import traceback
from types import SimpleNamespace
from typing import Any

import pytest

from dicomweb_archive.errors import NotAcceptableError
from dicomweb_archive.services.conversions import choose_first, offers_in_archive
from dicomweb_archive.services.instance_answers import Choice
from dicomweb_archive.wire.media_types import instance_offers, parse_accept


def test_a_refusal_grows_no_longer_with_the_instances_that_it_is_for() -> None:
    choose = Choice(parse_accept("application/dicom; transfer-syntax=1.2.840.10008.1.2.4.201"))
    depths = []
    for _ in range(3):
        with pytest.raises(NotAcceptableError) as refused:
            choose(lambda: instance_offers("1.2.840.10008.1.2.1", can_decode=True, single=True), "kind")
        depths.append(len(traceback.extract_tb(refused.value.__traceback__)))
    assert depths[1] == depths[2]


async def test_others_are_served_while_no_instance_of_many_can_be_had_as_accepted() -> None:
    report: Any = SimpleNamespace(transfer_syntax_uid="1.2.840.10008.1.2.1", pixel_data=None, pixel_format=None)
    choose = Choice(
        parse_accept('multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.201')
    )
    choosing = asyncio.create_task(choose_first([report] * 2000, choose, offers_in_archive))
    turns = 0
    while not choosing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 4
    with pytest.raises(NotAcceptableError):
        await choosing
