"""The demo shows something at first sight, and is the same whenever it is made."""

import io

import numpy as np
import pydicom
import pytest

from dicomweb_archive.cli.client.phantom import iter_demo


@pytest.mark.parametrize(("folder", "air"), [("ct", 500), ("mr", 100)])
def test_every_slice_shows_the_head(folder: str, air: int) -> None:
    made = [instance for instance in iter_demo(ct_slices=12, mr_slices=12) if instance.name.startswith(folder)]
    pictures = [pydicom.dcmread(io.BytesIO(instance.data)).pixel_array for instance in made]
    assert len(pictures) == 12
    shares = [float(np.mean(picture > air)) for picture in pictures]
    assert min(shares) > 0.05, shares


def test_the_same_seed_gives_the_same_bytes_and_another_one_other_instances() -> None:
    first, again, other = (list(iter_demo(seed, ct_slices=8, mr_slices=8)) for seed in ("a", "a", "b"))
    assert first == again
    names = [{instance.sop_instance_uid for instance in made} for made in (first, other)]
    assert len(names[0]) == len(first)
    assert not names[0] & names[1]
