"""Reports: structured reports as pages, written in a decoding process (PS3.18 10.4.1.1.3, 8.7.2: text)."""

from functools import partial
from hashlib import blake2b

from dicomweb_archive import __version__
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.reading.instances import InstanceLocation
from dicomweb_archive.services.instance_bytes import InstanceBytes
from dicomweb_archive.services.pictures import Drawing, Pictures
from dicomweb_archive.services.recheck import gone_if_deleted


def report_drawing(pictures: Pictures, location: InstanceLocation, media_type: str, visibility: Visibility) -> Drawing:
    """Return a report as a page that can be had; nothing is read before it is asked for."""
    described = f"{__version__} {location.digest.hex()} {media_type}"
    etag = f'"{blake2b(described.encode(), digest_size=16).hexdigest()}"'
    return Drawing(f"{media_type}; charset=utf-8", etag, partial(_write, pictures, location, media_type, visibility))


async def _write(pictures: Pictures, location: InstanceLocation, media_type: str, visibility: Visibility) -> bytes:
    payload = InstanceBytes(pictures.objects, pictures.decoding).file_payload(location)
    async with gone_if_deleted(pictures.instances, location, visibility):
        _, page = await pictures.decoding.run("report", {"media_type": media_type}, payload)
    return page
