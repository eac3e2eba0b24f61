"""Metadata parts: texts of any length become data sets, a few at once, and large ones in turn."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Final

from dicomweb_archive.dicom.model_encoding import EncodedDataSet, encode_model
from dicomweb_archive.errors import InvalidInstanceError
from dicomweb_archive.services.composition.filing import FiledDataSet, file_data_set
from dicomweb_archive.services.composition.shared import LARGE_TEXT_BYTES, Shared
from dicomweb_archive.storage.spool import Spool, SpooledValue
from dicomweb_archive.wire.store_metadata import MetadataFormat

# What a thread does in some milliseconds; one by one the hand-over would cost as much as a small instance.
_AT_ONCE: Final = 256
_AT_ONCE_BYTES: Final = 64 * 1024

ReadDataSet = EncodedDataSet | FiledDataSet | InvalidInstanceError
"""A data set that waits for nothing and is small, one that was put away, or why there is none."""


@dataclass(frozen=True, slots=True)
class MetadataReader:
    """Reads the metadata of one request.

    Attributes:
        spool: where the text waits to be read, and data sets wait for their bulk data.
    """

    shared: Shared
    spool: Spool

    async def read(self, text: SpooledValue, form: MetadataFormat) -> AsyncIterator[ReadDataSet]:
        """Yield the data sets of a text that is there whole.

        Raises:
            InvalidRequestError, RequestTooLargeError: see `wire.store_metadata`.
        """
        texts = form.split(map(bytes, self.spool.read(text)))
        is_large = text.length > LARGE_TEXT_BYTES
        while True:
            if is_large:
                async with self.shared.large_texts:
                    read = await asyncio.to_thread(self._next, texts, form)
            else:
                read = await asyncio.to_thread(self._next, texts, form)
            if not read:
                return
            for each in read:
                yield each

    def _next(self, texts: Iterator[bytes], form: MetadataFormat) -> list[ReadDataSet]:
        """Read and encode the next instances, some at once; none behind the last."""
        read: list[ReadDataSet] = []
        size = 0
        while size < _AT_ONCE_BYTES and len(read) < _AT_ONCE and (text := next(texts, None)) is not None:
            size += len(text)
            try:
                data = encode_model(form.parse(text))
            except InvalidInstanceError as error:
                read.append(error)
                continue
            waits = data.references or len(text) > _AT_ONCE_BYTES
            read.append(file_data_set(data, self.spool) if waits else data)
        return read
