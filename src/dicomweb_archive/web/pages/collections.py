"""The pages of collections: which there are, and what one is."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from dicomweb_archive.dicom.uid_names import uid_name
from dicomweb_archive.web.dependencies import DICOMWEB, base_url_of, get_principal, get_services
from dicomweb_archive.web.pages.browser_route import BrowserRoute
from dicomweb_archive.web.pages.problems import as_page
from dicomweb_archive.web.pages.rendering import render

_MOST: Final = 1000


async def show_collections(request: Request) -> Response:
    """Show the collections that the visitor may see."""
    service = get_services(request).collections
    page = await service.list_collections(await get_principal(request), limit=_MOST)
    return await render(request, "collections.html", collections=page.collections, total=page.total)


async def show_collection(request: Request) -> Response:
    """Show one collection."""
    service = get_services(request).collections
    collection = await service.show(await get_principal(request), request.path_params["accession"])
    rules = collection.rules
    return await render(
        request,
        "collection.html",
        collection=collection,
        sop_classes=[uid_name(uid) or uid for uid in sorted(rules.sop_classes)],
        transfer_syntaxes=[uid_name(uid) or uid for uid in sorted(rules.transfer_syntaxes)],
        sites=sorted(rules.sites),
        dicomweb=f"{base_url_of(request)}/collections/{collection.accession}{DICOMWEB}",
    )


routes = [
    BrowserRoute("/collections", as_page(show_collections), name="collections_page"),
    BrowserRoute("/collections/{accession}", as_page(show_collection), name="collection_page"),
]
