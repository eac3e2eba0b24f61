"""Decoding without processes, for tests of what goes in and comes out."""

from collections.abc import Mapping
from typing import Any, cast

from dicomweb_archive.errors import UndecodableError
from dicomweb_archive.services import decode_worker
from dicomweb_archive.services.decoding import StoredPayload


class InProcess:
    """Does the jobs of the decoding processes at once."""

    async def run(self, job: str, arguments: Mapping[str, Any], payload: StoredPayload) -> tuple[dict[str, Any], bytes]:
        data = b"".join(cast(list[bytes], await payload.read()))
        answer, pixels = decode_worker.perform({"job": job, "arguments": arguments}, data)
        if "error" in answer:
            raise UndecodableError(answer["error"])
        return answer["results"], pixels
