"""Pages of curators and submitters: the queue, what a submission holds, what is said of it, and what is decided."""

from dicomweb_archive.web.pages.curation import (
    approving,
    bulk,
    conflicts,
    correcting,
    deciding,
    edits,
    findings,
    inventory,
    overview,
    publishing,
    queue,
    rules,
    sheet,
    trail,
)

routes = [
    route
    for page in (
        queue,
        bulk,
        findings,
        inventory,
        approving,
        correcting,
        rules,
        edits,
        conflicts,
        trail,
        sheet,
        publishing,
        deciding,
        overview,
    )
    for route in page.routes
]
"""The page of a submission comes last: its path begins all others."""
