"""Which store of objects the settings mean."""

from dicomweb_archive.settings import Settings
from dicomweb_archive.storage.base import ObjectStore
from dicomweb_archive.storage.filesystem import FolderStore
from dicomweb_archive.storage.ownership import StoreOwner


async def open_objects(settings: Settings, owner: StoreOwner | None = None) -> ObjectStore:
    """Open the store that the settings name; whoever asks closes it.

    Args:
        owner: the archive whose store it has to be; `None` when that is not known yet.

    Raises:
        SetupError: the folder or bucket cannot be used, or is not the owner's.
        StorageUnavailableError: the S3 service cannot be reached.
    """
    if settings.object_bucket is None:
        return await FolderStore.open_folder(settings.object_folder, owner)
    # Read late: an archive with a folder does without the client of S3.
    from dicomweb_archive.storage.s3.store import S3Place, S3Store

    bucket, prefix = settings.object_bucket
    assert settings.s3_access_key_id is not None
    assert settings.s3_secret_access_key is not None
    place = S3Place(
        endpoint_url=settings.s3_endpoint_url or f"https://s3.{settings.s3_region}.amazonaws.com",
        region=settings.s3_region,
        bucket=bucket,
        prefix=prefix,
        access_key_id=settings.s3_access_key_id.get_secret_value(),
        secret_access_key=settings.s3_secret_access_key.get_secret_value(),
        addressing=settings.s3_addressing or ("path" if settings.s3_endpoint_url else "virtual"),
        connections=settings.s3_connections,
        timeout_seconds=settings.s3_timeout_seconds,
    )
    return await S3Store.open_bucket(place, owner)
