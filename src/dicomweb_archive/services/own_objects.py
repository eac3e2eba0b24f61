"""OwnObjects: the store of objects that goes with a database, refused when it is another's or not there."""

from dicomweb_archive.index.database.engine import Database
from dicomweb_archive.index.writing.packs import PackIndex
from dicomweb_archive.settings import Settings
from dicomweb_archive.storage.base import ObjectStore
from dicomweb_archive.storage.opening import open_objects
from dicomweb_archive.storage.ownership import StoreOwner


async def open_own_objects(settings: Settings, database: Database) -> ObjectStore:
    """Open the store that the settings name, which has to be the one that the database knows; its owner closes it.

    Raises:
        SetupError: the folder or bucket cannot be used, is another archive's, or its volume is not mounted.
        StorageUnavailableError: the store cannot be read.
    """
    return await open_objects(settings, StoreOwner(*await PackIndex(database).owner()))
