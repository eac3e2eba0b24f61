"""Preamble and File Meta Information of an instance that the archive puts together (PS3.10 7.1)."""

from typing import Final

from dicomweb_archive.dicom.element_encoding import encode

IMPLEMENTATION_CLASS_UID: Final = "2.25.240934713170652338430867158319461520419"
"""Names this archive as the writer of a file (PS3.7 D.3.3.2), made of a UUID."""

IMPLEMENTATION_VERSION_NAME: Final = "DICOMWEB-ARCHIVE"


def encode_file_head(*, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Encode preamble, prefix and File Meta Information; the data set follows."""
    texts = [
        (0x00020002, "UI", sop_class_uid),
        (0x00020003, "UI", sop_instance_uid),
        (0x00020010, "UI", transfer_syntax_uid),
        (0x00020012, "UI", IMPLEMENTATION_CLASS_UID),
        (0x00020013, "SH", IMPLEMENTATION_VERSION_NAME),
    ]
    version = encode(0x00020001, "OB", b"\0\1")
    body = version + b"".join([encode(tag, vr, text.encode("ascii", "replace")) for tag, vr, text in texts])
    return bytes(128) + b"DICM" + encode(0x00020000, "UL", len(body).to_bytes(4, "little")) + body
