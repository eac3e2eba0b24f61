"""Values of the DICOM JSON model as value fields, however many there are and whatever is written for numbers."""

import random

import pytest

from dicomweb_archive.dicom.status import COERCED, SOP_CLASS_MISMATCH_WARNING
from dicomweb_archive.dicom.value_encoding import UnfitValueError, encode_values
from dicomweb_archive.dicom.values import number_text

LONGEST = 16


def encoded(vr: str, *values: object) -> tuple[bytes, set[int]]:
    warnings: set[int] = set()
    return encode_values(vr, values, lambda warning, _: warnings.add(warning)), warnings


def plainly(text: str) -> str:
    """Write a decimal string with the most digits that fit, found by trying."""
    if not text or number_text(text.strip()) is None or len(text) <= LONGEST:
        return text
    return next(short for digits in range(16, 0, -1) if len(short := f"{float(text):.{digits}g}") <= LONGEST)


def test_decimal_strings_keep_what_fits_and_as_many_digits_as_do_where_it_does_not() -> None:
    chance = random.Random(3)
    for _ in range(3000):
        number = chance.choice(
            [
                chance.random() * 10 ** chance.randrange(-20, 22),
                chance.randrange(10 ** chance.randrange(1, 22)),
                10 ** chance.randrange(-5, 18) - chance.random(),
                1 - 10 ** -chance.randrange(1, 17),
            ]
        )
        forms = [f"{number:.25g}", f"{number:.18f}", f"{number:.18e}", repr(number), "x", "", "1e999", "."]
        texts = [chance.choice(["", "-", "+", " "]) + chance.choice(forms) for _ in range(2)]
        value, warnings = encoded("DS", *texts)
        expected = [plainly(text) for text in texts]
        assert value == "\\".join(expected).encode(), texts
        assert (COERCED in warnings) == (expected != texts), texts


@pytest.mark.parametrize(
    ("vr", "values", "value", "warnings"),
    [
        ("DS", ["1.5", None, "-2"], b"1.5\\\\-2", set()),
        ("DS", ["1\\2"], b"1\\2", {SOP_CLASS_MISMATCH_WARNING}),
        ("DS", ["\u0661"], "\u0661".encode(), {SOP_CLASS_MISMATCH_WARNING}),
        ("IS", ["12", "-3", "0"], b"12\\-3\\0", set()),
        ("IS", ["+012", "4.0", None], b"12\\4\\", set()),
        ("IS", ["1.5", "many"], b"1.5\\many", {SOP_CLASS_MISMATCH_WARNING}),
        # It would be written with 301 digits: a few bytes of text would become very many.
        ("IS", ["1e300"], b"1e300", {SOP_CLASS_MISMATCH_WARNING}),
    ],
)
def test_numbers_as_text(vr: str, values: list[str | None], value: bytes, warnings: set[int]) -> None:
    assert encoded(vr, *values) == (value, warnings)


@pytest.mark.parametrize(("vr", "value"), [("DS", {}), ("IS", []), ("UL", "1e30"), ("FD", "x")])
def test_what_is_no_number_at_all_is_unfit(vr: str, value: object) -> None:
    with pytest.raises(UnfitValueError):
        encoded(vr, value)
