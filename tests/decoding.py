"""Decoding without processes, for tests of what goes in and comes out."""

from collections.abc import Mapping
from typing import Any

from dicomweb_archive.errors import UndecodableError
from dicomweb_archive.services import decode_worker
from dicomweb_archive.services.decoding import StreamedPayload, Take


class InProcess:
    """Does the jobs of the decoding processes at once."""

    async def run_streamed(
        self, job: str, arguments: Mapping[str, Any], payload: StreamedPayload, take: Take
    ) -> dict[str, Any]:
        data = b"".join([bytes(piece) async for piece in payload.read()])
        answer, pixels = decode_worker.perform({"job": job, "arguments": arguments}, data)
        if "error" in answer:
            raise UndecodableError(answer["error"])
        await take(pixels)
        results: dict[str, Any] = answer["results"]
        return results
