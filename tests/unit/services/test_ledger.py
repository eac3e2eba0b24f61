"""What is said of attributes of the parts of a request, within bounds."""

from dicomweb_archive.dicom import status
from dicomweb_archive.dicom.status import AttributeNote, StoreOutcome
from dicomweb_archive.index.curation.submissions import SubmissionIndex
from dicomweb_archive.services.destinations import WaitingRoom
from dicomweb_archive.services.reception.ledger import Ledger
from dicomweb_archive.services.reception.oddities import notes_of


class NoSubmissions(SubmissionIndex):
    """Is asked for nothing."""

    def __init__(self) -> None:
        pass


def outcomes(ledger: Ledger) -> list[StoreOutcome]:
    return ledger.outcomes(WaitingRoom(NoSubmissions(), 1, actor="somebody"))


def test_an_attribute_of_which_something_was_said_is_not_named_again() -> None:
    ledger = Ledger()
    item = AttributeNote(0x00080104, status.COERCED, "Rounded", ((0x00081032, 1),))
    position = ledger.begin_part((item,))
    ledger.note(position, notes_of(((0x00081032, "not_a_number"), (0x00180050, "not_a_number"))))
    ledger.fail(position, status.CANNOT_UNDERSTAND)
    assert [note.tag for note in outcomes(ledger)[0].notes] == [0x00080104, 0x00180050]


def test_each_part_is_warned_of_and_the_notes_of_all_are_bounded() -> None:
    ledger = Ledger()
    notes = notes_of(tuple((0x00180050 + tag, "odd_length") for tag in range(100)))
    for _ in range(200):
        ledger.fail(ledger.begin_part(notes), status.CANNOT_UNDERSTAND)
    said = [len(outcome.notes) for outcome in outcomes(ledger)]
    assert said[0] == 100
    assert said[-1] == 1
    assert sum(said) < 6000


def test_what_is_no_attributes_is_not_said_of_any() -> None:
    assert notes_of(((0x00080005, "value_truncated"), (0x7FE00010, "trailing_zeros"))) == ()
