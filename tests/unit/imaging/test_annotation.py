"""Text in the corners of pictures (PS3.18 8.3.5.1.1)."""

import numpy as np
from PIL import Image
from pydicom import Dataset
from tests.factories import image

from dicomweb_archive.imaging.annotation import Annotation, annotate, annotation_of


def test_patient_and_technique_are_told_as_people_write_them():
    both = annotation_of(image(PatientName="Doe^Jane^Q", NumberOfFrames=7), ("patient", "technique"), 3)
    assert both.top_left == ("Doe, Jane Q", "P00001", "1970-01-02  F")
    assert both.top_right == ("2024-01-31 10:15", "HEAD^ROUTINE", "Axial 5 mm")
    assert both.bottom_left == ("CT", "Se 1", "Im 1 Fr 3/7", "Pos 0\\0\\5")
    assert both.bottom_right == ("120 kV", "5 mm")
    assert annotation_of(image(), ("patient",), 1)._replace(top_left=()) == Annotation()
    assert not annotation_of(image(), ("technique",), 1).top_left


def test_what_is_missing_odd_or_unprintable_is_left_out():
    assert annotation_of(Dataset(), ("patient", "technique"), 1) == Annotation()
    odd = Dataset()
    odd.PatientName = "A" * 70 + "^B"
    odd.PatientID = "1\u202e2\x073"
    odd.add_new("KVP", "LO", "high")
    lines = annotation_of(odd, ("patient", "technique"), 1)
    assert lines.top_left == ("A" * 64, "123")
    assert lines.bottom_right == ("high kV",)


def test_a_name_of_ideographs_is_written_in_its_letters():
    named = Dataset()
    named.SpecificCharacterSet = "ISO_IR 192"
    named.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    assert annotation_of(named, ("patient",), 1).top_left == ("Yamada, Tarou",)


def test_each_kind_of_text_stands_in_its_corners():
    for mode in ("L", "RGB"):
        empty = Image.new(mode, (400, 300))
        for corner, (rows, columns) in {
            "top_left": (slice(0, 100), slice(0, 200)),
            "top_right": (slice(0, 100), slice(200, 400)),
            "bottom_left": (slice(200, 300), slice(0, 200)),
            "bottom_right": (slice(200, 300), slice(200, 400)),
        }.items():
            text = Annotation()._replace(**{corner: ("Doe, Jane", "P1")})
            drawn = np.asarray(annotate(empty, text))
            assert drawn[rows, columns].max() > 200
            drawn = drawn.copy()
            drawn[rows, columns] = 0
            assert drawn.max() == 0
        assert np.asarray(empty).max() == 0


def test_a_tiny_picture_stays_as_small_as_it_was():
    assert annotate(Image.new("L", (1, 3)), Annotation(top_left=("Doe",))).size == (1, 3)


def test_letters_that_the_font_lacks_are_drawn_without_their_accents_and_never_as_nothing():
    empty = Image.new("L", (400, 60))

    def drawn(text: str) -> bytes:
        return annotate(empty, Annotation(top_left=(text,))).tobytes()

    assert drawn("Müller, José Łukasz Dvořák Strauß Æ") == drawn("Muller, Jose Lukasz Dvorak Strauss AE")
    assert drawn("Иванов") != drawn("")
    assert drawn("M") != drawn("山")
