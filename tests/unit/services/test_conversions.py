"""What is chosen for many instances of which some have no form that is accepted."""

import traceback

import pytest

from dicomweb_archive.errors import NotAcceptableError
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
