"""Members of a pack by its own records: the CRC-32 that was taken of each when it was stored.

The records lie around the member, so that whoever streams members reads them on the way: no byte is read twice,
and what a later reader finds to differ from its CRC was damaged since it came.
"""

from dicomweb_archive.errors import DamagedObjectError
from dicomweb_archive.storage.base import Buffer, ObjectStore
from dicomweb_archive.storage.spans import Span
from dicomweb_archive.storage.zip_format import (
    DESCRIPTOR_BYTES,
    LOCAL_HEADER_BYTES,
    ZIP64_BYTES,
    read_data_descriptor,
    read_local_header,
)


def header_span(name: bytes, data: Span) -> Span:
    """Return where the header of a member lies whose size was known when it was written."""
    size = LOCAL_HEADER_BYTES + len(name)
    return Span(data.key, data.offset - size, size)


async def crc_of(store: ObjectStore, name: bytes, data: Span, header: Buffer) -> int:
    """Return the CRC-32 of a member, from what lies at its `header_span`.

    A member that was streamed into the pack has a longer header, and its CRC behind it: two small reads more.

    Raises:
        DamagedObjectError: the records are not those of this member.
    """
    read = read_local_header(header, name)
    if read is not None and not read.is_streamed and read.size_bytes == data.length:
        return read.crc
    start = data.offset - len(header) - ZIP64_BYTES
    read = None if start < 0 else read_local_header(await store.read(data.key, start, data.offset - start), name)
    if read is not None and not read.is_streamed and read.size_bytes == data.length:
        return read.crc
    if read is not None and read.is_streamed:
        end = data.offset + data.length
        crc, size = read_data_descriptor(await store.read(data.key, end, DESCRIPTOR_BYTES))
        if size == data.length:
            return crc
    message = "a pack does not hold the member that was stored in it"
    raise DamagedObjectError(message)
