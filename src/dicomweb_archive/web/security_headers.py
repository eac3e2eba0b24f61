"""Which safe headers an answer carries: one table from the first step of a path to what may run and who may embed."""

from collections.abc import Mapping

from dicomweb_archive.wire.roots import split_root

Headers = tuple[tuple[bytes, bytes], ...]

_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
_EVERYWHERE: Headers = (_NO_SNIFFING, (b"referrer-policy", b"no-referrer"))
# Whatever a data set holds, a browser that opens it directly runs none of it.
_DATA_POLICY = b"default-src 'none'; frame-ancestors 'none'; sandbox"
# The API pages carry inline scripts of their generator, and nothing from other hosts.
_API_PAGE_POLICY = (
    b"default-src 'self' 'unsafe-inline'; img-src 'self' data:; worker-src blob:; object-src 'none'; "
    b"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
# Names and descriptions in our pages come from data sets: an inline script in one of them is never run.
_OWN_PAGE_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'self'; "
    b"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
# The viewer compiles WebAssembly, starts workers, styles elements inline and shows documents from blobs. What reads
# segmentations, JPEG 2000 and JPEG-LS in it makes functions from text; nothing of it may come from elsewhere.
_VIEWER_POLICY = (
    b"default-src 'none'; script-src 'self' 'unsafe-eval'; worker-src 'self' blob:; "
    b"style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    b"connect-src 'self' data: blob:; media-src 'self' blob:; object-src 'self' blob:; frame-src 'self' blob:; "
    b"manifest-src 'self'; form-action 'self'; frame-ancestors 'self'; base-uri 'self'"
)

_SAME_ORIGIN = (b"cross-origin-resource-policy", b"same-origin")
_API_PAGES: Headers = (*_EVERYWHERE, (b"content-security-policy", _API_PAGE_POLICY))
_OWN_PAGES: Headers = (
    _NO_SNIFFING,
    # With `no-referrer` browsers hide the origin of a form, too, by which we know our own (Fetch 3.1.1).
    (b"referrer-policy", b"same-origin"),
    (b"content-security-policy", _OWN_PAGE_POLICY),
    _SAME_ORIGIN,
)
_VIEWER: Headers = (
    *_EVERYWHERE,
    (b"content-security-policy", _VIEWER_POLICY),
    _SAME_ORIGIN,
    # Both together isolate the page, so that the viewer may share memory between its workers.
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-embedder-policy", b"require-corp"),
)

_ROOTS = ("/collections/", "/submissions/")

_BY_FIRST_STEP: Mapping[str, Headers] = {
    "docs": _API_PAGES,
    "redoc": _API_PAGES,
    "static-offline-docs": _API_PAGES,
    "ohif": _VIEWER,
    "studies": _OWN_PAGES,
    "collections": _OWN_PAGES,
    "submissions": _OWN_PAGES,
    "webhooks": _OWN_PAGES,
    "status": _OWN_PAGES,
    "sign-in": _OWN_PAGES,
    "sign-out": _OWN_PAGES,
    "assets": _OWN_PAGES,
}
"""The first step of a path below the archive's root -> headers; everything else is data."""


class SecurityHeaders:
    """The table for one archive: below which prefix it lies, and whether viewers of other origins may read data."""

    def __init__(self, *, root_path: str = "", cross_origin: bool = False) -> None:
        self._root_path = root_path
        policy = b"cross-origin" if cross_origin else b"same-origin"
        self._data: Headers = (
            *_EVERYWHERE,
            (b"content-security-policy", _DATA_POLICY),
            (b"cross-origin-resource-policy", policy),
        )

    def of(self, path: str) -> Headers:
        """Return the headers of every answer to `path`, whether it is found there or not."""
        below = path.removeprefix(self._root_path)
        if below == "/":
            return _OWN_PAGES
        if below.startswith(_ROOTS):
            below = split_root(below)[1]
        # Only the first step counts: `/dicom-web/studies` is data, `/studies/1.2` a page.
        return _BY_FIRST_STEP.get(below[1:].partition("/")[0], self._data)
