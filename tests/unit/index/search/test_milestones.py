"""Milestones: how far they reach, and between which of them the rows of a page lie."""

from dataclasses import replace

from dicomweb_archive.index.search.milestones import Milestones
from dicomweb_archive.index.search.planning.plan import Stretch


def test_milestones_reach_as_far_as_they_were_counted():
    milestones = Milestones("now", [3, 8, 20], [0, 10, 25], whole=False)
    assert milestones.reach(20, 5)
    assert not milestones.reach(20, 6)
    assert replace(milestones, whole=True).reach(20, 6)


def test_a_stretch_holds_the_series_of_a_page():
    milestones = Milestones("now", [3, 8, 20], [0, 10, 25])
    assert milestones.stretch(0, 5) == Stretch(3, 8, 0)
    assert milestones.stretch(9, 1) == Stretch(3, 8, 0)
    assert milestones.stretch(9, 2) == Stretch(3, 20, 0)
    assert milestones.stretch(10, 15) == Stretch(8, 20, 10)
    assert milestones.stretch(24, 100).passed == 10
    assert milestones.stretch(30, 1).first == 20
