"""SOP classes and transfer syntaxes by UID and by keyword."""

import pytest

from dicomweb_archive.dicom.uid_names import UidType, uid_name, uid_of

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"


@pytest.mark.parametrize(
    ("text", "kind", "uid"),
    [
        pytest.param(CT, UidType.SOP_CLASS, CT, id="uid"),
        pytest.param("CTImageStorage", UidType.SOP_CLASS, CT, id="keyword"),
        pytest.param("ExplicitVRLittleEndian", UidType.TRANSFER_SYNTAX, EXPLICIT, id="keyword-of-a-syntax"),
        pytest.param("1.3.46.670589.11.0.0.12.1", UidType.SOP_CLASS, "1.3.46.670589.11.0.0.12.1", id="private"),
        pytest.param(EXPLICIT, UidType.SOP_CLASS, None, id="syntax-as-class"),
        pytest.param("CTImageStorage", UidType.TRANSFER_SYNTAX, None, id="class-as-syntax"),
        pytest.param("CT", UidType.SOP_CLASS, None, id="modality"),
        pytest.param("1.02.3", UidType.SOP_CLASS, None, id="leading-zero"),
        pytest.param("1..3", UidType.SOP_CLASS, None, id="empty-component"),
        pytest.param("1", UidType.SOP_CLASS, None, id="number"),
        pytest.param("1.٣", UidType.SOP_CLASS, None, id="other-digits"),
        pytest.param("1." + "2" * 63, UidType.SOP_CLASS, None, id="too-long"),
        pytest.param("", UidType.SOP_CLASS, None, id="empty"),
    ],
)
def test_a_uid_or_its_keyword_is_read(text: str, kind: UidType, uid: str | None) -> None:
    assert uid_of(text, kind) == uid


def test_well_known_uids_have_names() -> None:
    assert uid_name(CT) == "CT Image Storage"
    assert uid_name("1.2.3") is None
