"""The manifest of a folder, as an archive like this one takes it, and the fingerprint by which it is known again."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dicomweb_archive.cli.client.json_api import Document
from dicomweb_archive.cli.client.submission.scanning import Scan

LARGEST_BODY: Final = 4 * 1024 * 1024
MOST_INSTANCES: Final = 50_000
"""How much of a manifest the archive takes."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What is said of a submission before anything is sent.

    Attributes:
        names_instances: whether each instance is named; otherwise there are too many, and only totals are said.
    """

    body: Document
    fingerprint: str
    names_instances: bool

    def is_of(self, manifest: Document) -> bool:
        """Tell whether a manifest that the archive has says the same."""
        announced = self.body["totals"]
        same_totals = all(manifest["totals"].get(name) == value for name, value in announced.items())
        return same_totals and bool(manifest["fingerprint"] == self.fingerprint)


def announce(scan: Scan) -> Announcement:
    """Say as much of what there is as the archive takes: digests, else names, else how many."""
    totals = {"instances": len(scan.instances), "size_bytes": scan.size_bytes}
    for digests in (
        {uid: file.digest for uid, file in scan.instances.items()},
        dict.fromkeys(scan.instances, ""),
        dict[str, str](),
    ):
        instances = [
            {"sop_instance_uid": uid, **({"digest": digest} if digest else {})} for uid, digest in digests.items()
        ]
        body = {"totals": totals, "instances": instances}
        if not instances or (len(instances) <= MOST_INSTANCES and len(json.dumps(body)) <= LARGEST_BODY):
            break
    return Announcement(body, fingerprint_of(digests), bool(digests))


def fingerprint_of(digests: Mapping[str, str]) -> str:
    """Compute what the archive says of the instances that were announced: SHA-256 of a line for each."""
    lines = (f"{uid} {digests[uid] or '-'}\n" for uid in sorted(digests))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
