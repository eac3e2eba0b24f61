"""Settings: one flat set of names, read from the environment and a TOML file, handed to the rooms in sections.

Environment variables are the field names in upper case behind `DICOMWEB_ARCHIVE_`; the TOML file named by
`DICOMWEB_ARCHIVE_CONFIG` (default `dicomweb-archive.toml` in the working folder) uses the names in lower case.
Secrets may also lie in files of their own, in the folder named by `DICOMWEB_ARCHIVE_SECRETS_DIR`. The environment
wins. `docs/settings.md` documents each one; a test holds the two together.
"""

import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import quote, unquote, urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from dicomweb_archive.errors import SetupError

MIB = 1024 * 1024
GIB = 1024 * MIB

PositiveInt = Annotated[int, Field(gt=0)]

# What a path and a signature hold without escapes.
_BUCKET_URL = re.compile(
    r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>[A-Za-z0-9_-][A-Za-z0-9._-]*"
    r"(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*)?)?/?"
)
_TARGET_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*(?::[1-9][0-9]{0,4})?")
_HOST_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")


def default_viewer_folder() -> Path:
    """Return where the viewer is installed: beside the program, as it is program and not data."""
    return Path(sys.prefix) / "share" / "dicomweb-archive" / "viewer"


class Settings(BaseSettings):
    """Everything an operator may set; constructed only by `app.py`, `cli/` and tests."""

    model_config = SettingsConfigDict(env_prefix="DICOMWEB_ARCHIVE_", extra="forbid", frozen=True)

    # Where things lie
    data_dir: Path = Field(
        Path(".data"),
        description="Folder of the private database and the folder store; a relative one begins at the working folder.",
    )
    database_url: SecretStr | None = Field(
        None,
        description="postgresql://… of an own server (15 or newer); unset: a private one in the data folder.",
    )
    database_password: SecretStr | None = Field(
        None,
        description="Password that goes with the user in `DATABASE_URL`, for a URL without one.",
    )
    object_store_url: str | None = Field(
        None,
        description="Where packs are kept: file:///folder or s3://bucket/prefix; unset: the folder `objects` in the "
        "data folder.",
    )
    s3_endpoint_url: str | None = Field(
        None, description="The S3 service, e.g. https://s3.example.org; unset: Amazon's in `S3_REGION`."
    )
    s3_region: str = Field("us-east-1", description="Region of the bucket; most services of other makers take any.")
    s3_access_key_id: SecretStr | None = Field(None, description="Access key id of the S3 service.")
    s3_secret_access_key: SecretStr | None = Field(None, description="Secret access key that belongs to it.")
    s3_addressing: Literal["path", "virtual"] | None = Field(
        None,
        description="`path` asks https://service/bucket/…, `virtual` https://bucket.service/…; unset: `path` with "
        "`S3_ENDPOINT_URL`, else `virtual`.",
    )
    s3_connections: PositiveInt = Field(
        32,
        description="Most connections of a server process to the S3 service for reading and writing objects, and as "
        "many again for long streams.",
    )
    s3_timeout_seconds: float = Field(
        20, gt=0, description="Longest silence of the S3 service before a request is made again or given up."
    )
    block_cache_memory_bytes: int = Field(
        128 * MIB,
        ge=0,
        description="Memory of a server process for blocks of objects in a bucket that were read; 0: none. A folder "
        "needs no such cache.",
    )
    block_cache_disk_bytes: int = Field(
        10 * GIB,
        ge=0,
        description="Room on the local disk for such blocks, shared by the server processes; 0: none. One GiB of the "
        "disk stays free.",
    )
    block_cache_dir: Path | None = Field(
        None, description="Folder of the blocks on the disk; unset: `blocks` in the data folder."
    )
    viewer_dir: Path | Literal["none"] | None = Field(
        None,
        description="Folder of the viewer served at /ohif/; unset: the one that `dicomweb-archive viewer install` has "
        "made, if there is one; empty or `none`: no viewer.",
    )

    # The HTTP door
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    workers: PositiveInt = Field(2, description="Number of server processes.")
    public_url: str | None = Field(
        None,
        description="Base URL that clients use, e.g. https://images.example.org; URLs in answers are then built from "
        "it alone. Unset: from http:// and the host and port that the client has asked.",
    )
    root_path: str = Field("", description="Path prefix under which a proxy serves the archive, e.g. /archive.")
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Further names by which clients may ask the archive, with commas between; `*`: any. Unset: any "
        "with a key; without one localhost, IP addresses and the name in `PUBLIC_URL` only.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins of viewers on other hosts that may call us, with commas between."
    )

    # Who may do what
    authentication: Literal["keys", "none"] | None = Field(
        None,
        description="`keys`: who stores, deletes or manages needs a key. `none`: everybody who reaches the port may do "
        "everything. Unset: `keys` with `API_KEY`; without it `none` on loopback, and other addresses are refused.",
    )
    api_key: SecretStr | None = Field(
        None,
        description="Static key that gives every role (`Authorization: Bearer KEY`), beside the keys of "
        "`dicomweb-archive keys`.",
    )
    anonymous_read: bool = Field(True, description="Whether searching and retrieving need no key.")
    session_hours: float = Field(
        12, gt=0, le=8784, description="How long a browser stays signed in, in hours; a new key ends every session."
    )

    accession_prefix: str = Field(
        "COL",
        pattern=r"^[A-Z][A-Z0-9]{1,15}$",
        description="What accessions of new collections begin with: COL-000123.",
    )

    # Logs
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level logged.")
    log_format: Literal["json", "text"] = Field("json", description="One JSON object a line, or plain text.")

    # Bounds at the door
    max_instance_bytes: PositiveInt = Field(64 * GIB, description="Largest instance that may be stored.")
    max_request_parts: PositiveInt = Field(20_000, description="Most parts in one store request.")
    store_requests: PositiveInt = Field(
        64,
        description="Most store requests that a server process receives at once; further ones wait. Each takes up to "
        "some dozen MiB of memory; what waits for the rest of its instance beyond that does so in files.",
    )
    store_wait_seconds: float = Field(
        10, gt=0, description="Longest wait of a store request for its turn, then 503 with Retry-After."
    )
    hold_instance_bytes: PositiveInt = Field(
        8 * MIB,
        description="Instances up to this size are judged before a byte is written; larger ones stream.",
    )
    pack_bytes: PositiveInt = Field(512 * MIB, description="A pack is closed when it has reached this size.")
    pack_instances: PositiveInt = Field(1000, description="A pack is closed when it holds this many instances.")
    body_idle_timeout_seconds: float = Field(30, gt=0, description="Longest silence within a request body.")
    body_minimum_bytes_per_second: PositiveInt = Field(
        1024, description="Slowest upload that is let go on, averaged after the first 30 seconds."
    )
    free_space_watermark_bytes: int = Field(
        GIB, ge=0, description="Stores are refused with 507 when less room than this is left."
    )
    search_default_limit: PositiveInt = Field(1000, description="Page size of a search without `limit`.")
    timezone: str = Field(
        "+0000",
        description="Offset from UTC of stored dates and times that do not tell their own. For date-times it counts "
        "when they are stored.",
    )
    unsupported_parameters: Literal["ignore", "refuse"] = Field(
        "ignore", description="A search with a parameter that is not supported: ignored with a Warning, or 400."
    )
    search_max_studies: PositiveInt = Field(5000, description="Largest page of studies.")
    search_max_instances: PositiveInt = Field(50_000, description="Largest page of series or instances.")
    export_rows_max: PositiveInt = Field(1_000_000, description="Most rows of a search answered as CSV or Parquet.")
    database_connections: PositiveInt = Field(
        8, description="Database connections of a server process for short statements."
    )
    search_connections: PositiveInt = Field(
        4, description="Database connections of a server process for searches; more searches at once wait."
    )
    search_timeout_seconds: float = Field(10, gt=0, description="Longest database statement of a search.")
    maintenance_interval_seconds: float = Field(
        30,
        ge=0,
        description="Pause between rounds of looking after the index (merging small segments, statistics); 0: never.",
    )
    job_slots: int = Field(
        2,
        ge=0,
        le=64,
        description="Jobs that people have asked for (publishing, checks) that a server process does side by side, "
        "beside its requests and its upkeep, which has places of its own; 0: no jobs at all, `dicomweb-archive worker` "
        "does them.",
    )
    compaction_interval_seconds: float = Field(
        600,
        ge=0,
        description="Pause between rounds of compaction (small packs of series that have not changed for an hour "
        "become one, dead ranges go); 0: never.",
    )
    compaction_grace_hours: float = Field(
        168,
        ge=1,
        description="How long objects of packs that were compacted stay, for answers under way and for a database "
        "restored from an older backup.",
    )
    delete_orphans: bool = Field(
        False,
        description="Whether objects older than a day that no row refers to are deleted once a day; else they are only "
        "counted. After an older backup of the database was restored, what was stored since is among them.",
    )
    submission_expiry_days: int = Field(
        0,
        ge=0,
        le=36500,
        description="Days after which a submission to which nothing has happened expires: it leaves the queue, and "
        "what it holds stays for its curators, who may take it into review again; 0: never.",
    )
    rejected_kept_days: int = Field(
        0,
        ge=0,
        le=36500,
        description="Days after which what a rejected, withdrawn or expired submission holds is deleted with its "
        "bytes, and conflicts that were decided against; trails and findings stay; 0: never.",
    )
    webhook_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Hosts to which webhooks may send changes, by https, with commas between: `name`, `name:port` or "
        "`*.name`. They have to have public addresses. Unset: none.",
    )
    webhook_private_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Hosts of your own network to which webhooks may send changes, also by http and to private "
        "addresses, with commas between: `name` or `name:port`. Unset: none.",
    )
    webhook_attempts: PositiveInt = Field(
        20,
        description="Attempts in a row that may fail before nothing is sent to a webhook any more; the pauses between "
        "them double from 5 seconds to 6 hours, so 20 take more than two days.",
    )
    decode_workers: PositiveInt = Field(1, description="Processes per server process that decode pixel data.")
    decode_timeout_seconds: float = Field(
        60, gt=0, description="Longest decoding of one frame or instance, and longest wait for it."
    )
    decode_memory_bytes: PositiveInt = Field(2 * GIB, description="Memory limit of a decoding process.")

    # Shutdown
    graceful_timeout_seconds: float = Field(30, gt=0, description="How long running requests may take to end.")

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _names_are_separated_by_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(name.strip().lower().removesuffix(".") for name in value.split(",") if name.strip())
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _allowed_hosts_are_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        # A URL or a port here would never match, and its owner be locked out without a reason.
        if not all(name == "*" or _HOST_NAME.fullmatch(name) for name in value):
            message = "must be names like images.example.org, without scheme and port, or *"
            raise ValueError(message)
        return value

    @field_validator("webhook_hosts", "webhook_private_hosts", mode="before")
    @classmethod
    def _targets_are_separated_by_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(name.strip().lower() for name in value.split(",") if name.strip())
        return value

    @field_validator("webhook_hosts", "webhook_private_hosts")
    @classmethod
    def _targets_are_names(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        # A name of a network of one's own stands for one machine: a star there would open all of it.
        may_have_star = info.field_name == "webhook_hosts"
        names = (name.removeprefix("*.") if may_have_star else name for name in value)
        if not all(_TARGET_HOST.fullmatch(name) for name in names):
            message = "must be names like hooks.example.org or hooks.example.org:8443, without a scheme"
            raise ValueError(message)
        return value

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _origins_are_separated_by_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(origin.strip().rstrip("/") for origin in value.split(",") if origin.strip())
        return value

    @field_validator("api_key")
    @classmethod
    def _key_is_not_empty(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        # Blanks around it come from files and forms, and no header could hold them.
        key = value.get_secret_value().strip()
        if not key:
            # A variable that was never filled in would count as a key that everybody knows.
            message = "must not be empty; leave it out for an archive without a key"
            raise ValueError(message)
        return SecretStr(key)

    @field_validator("timezone")
    @classmethod
    def _timezone_is_an_offset(cls, value: str) -> str:
        if not re.fullmatch(r"[+-](0[0-9]|1[0-4])[0-5][0-9]", value):
            message = "must be an offset like +0100 or -0500"
            raise ValueError(message)
        return value

    @field_validator("root_path")
    @classmethod
    def _root_path_is_a_prefix(cls, value: str) -> str:
        if value and (not value.startswith("/") or value.endswith("/")):
            message = "must begin with a slash and not end with one"
            raise ValueError(message)
        return value

    @field_validator("public_url")
    @classmethod
    def _public_url_is_http(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            message = "must begin with http:// or https://"
            raise ValueError(message)
        return value.rstrip("/") if value else value

    @field_validator("viewer_dir", mode="before")
    @classmethod
    def _an_empty_folder_is_none(cls, value: object) -> object:
        # Path("") would be the working folder.
        return "none" if value == "" else value

    @field_validator("object_store_url")
    @classmethod
    def _object_store_is_known(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("file:///") and not _BUCKET_URL.fullmatch(value):
            message = "must be file:///absolute/folder or s3://bucket or s3://bucket/prefix"
            raise ValueError(message)
        return value

    @field_validator("s3_endpoint_url")
    @classmethod
    def _endpoint_is_a_plain_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
            message = "must be like https://s3.example.org; the key has settings of its own"
            raise ValueError(message)
        return value.rstrip("/")

    @model_validator(mode="before")
    @classmethod
    def _password_goes_into_the_url(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Put the two together, so that everything else deals with one URL."""
        password = _plain(values.get("database_password"))
        if not password:
            return values
        rest = {name: value for name, value in values.items() if name != "database_password"}
        return {**rest, "database_url": _with_password(_plain(values.get("database_url")) or "", password)}

    @model_validator(mode="after")
    def _open_only_on_loopback(self) -> "Settings":
        if self.authentication is None and self.is_open and self.host not in ("127.0.0.1", "::1", "localhost"):
            message = (
                "listening on other addresses than loopback needs api_key, or authentication=keys with keys of "
                "`dicomweb-archive keys`, or anybody who reaches the port may store and delete; "
                "authentication=none allows just that"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _a_key_is_asked_for(self) -> "Settings":
        if self.authentication == "none" and self.api_key is not None:
            message = "authentication=none lets everybody do everything, with api_key or without; leave one of them out"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _a_bucket_needs_a_key(self) -> "Settings":
        if self.object_bucket is not None and not (self.s3_access_key_id and self.s3_secret_access_key):
            message = "a bucket in object_store_url needs s3_access_key_id and s3_secret_access_key"
            raise ValueError(message)
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over the environment, the environment over files of secrets, these over the TOML file."""
        named = os.environ.get("DICOMWEB_ARCHIVE_CONFIG")
        if named is not None and not Path(named).is_file():
            message = "DICOMWEB_ARCHIVE_CONFIG names a file that does not exist"
            raise SetupError(message)
        path = Path(named or "dicomweb-archive.toml")
        try:
            file_settings = TomlConfigSettingsSource(settings_cls, toml_file=path)
        except tomllib.TOMLDecodeError as error:
            # Its text may quote a secret of the file.
            message = f"{path} is not valid TOML"
            raise SetupError(message) from error
        return init_settings, env_settings, _SecretFiles(settings_cls), file_settings

    @property
    def is_open(self) -> bool:
        """Whether everybody who reaches the archive may do everything."""
        return self.authentication == "none" or (self.authentication is None and self.api_key is None)

    @property
    def base_url(self) -> str:
        """Address of the archive's root by the settings, without a trailing slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"http://{host}:{self.port}") + self.root_path

    @property
    def service_root(self) -> str:
        """Base URI of the DICOMweb service (PS3.18 8.2) by the settings, without a trailing slash."""
        return self.base_url + "/dicom-web"

    @property
    def viewer_folder(self) -> Path | None:
        """Folder of the viewer to serve; None where there is none or none is wanted."""
        if self.viewer_dir is None:
            folder = default_viewer_folder()
            return folder if (folder / "index.html").is_file() else None
        return None if self.viewer_dir == "none" else Path(self.viewer_dir)

    @property
    def object_bucket(self) -> tuple[str, str] | None:
        """Bucket of the objects and the prefix of their keys, empty or ending in a slash; None for a folder."""
        found = _BUCKET_URL.fullmatch(self.object_store_url or "")
        return (found["bucket"], f"{found['prefix']}/" if found["prefix"] else "") if found else None

    @property
    def block_cache_folder(self) -> Path:
        """Folder of the block cache's disk level."""
        return self.block_cache_dir or self.data_dir / "blocks"

    @property
    def object_folder(self) -> Path:
        """Folder of the folder store, where no bucket is named."""
        if self.object_store_url is None:
            return self.data_dir / "objects"
        return Path(unquote(self.object_store_url.removeprefix("file://")))


class _SecretFiles(InitSettingsSource):
    """Secrets as container platforms and systemd hand them over: each in a file named like its setting."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls, _read_secrets(settings_cls))


def _read_secrets(settings_cls: type[BaseSettings]) -> dict[str, Any]:
    named = os.environ.get("DICOMWEB_ARCHIVE_SECRETS_DIR")
    if not named:
        return {}
    folder = Path(named)
    if not folder.is_dir():
        message = "DICOMWEB_ARCHIVE_SECRETS_DIR names a folder that does not exist"
        raise SetupError(message)
    # Only secrets: the folder may hold files of other programs, under any name.
    secret = [name for name, field in settings_cls.model_fields.items() if SecretStr in get_args(field.annotation)]
    try:
        return {name: (folder / name).read_text("utf-8").strip() for name in secret if (folder / name).exists()}
    except (OSError, UnicodeDecodeError) as error:
        message = f"A file in {folder} cannot be read as text by this user"
        raise SetupError(message) from error


def _plain(value: object) -> str | None:
    """Return a secret as it was given, by a source or by a caller."""
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value) if value is not None else None


def _with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    if not parts.username or parts.password is not None:
        message = "database_password needs a database_url that names a user and has no password itself"
        raise ValueError(message)
    user, _, place = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{place}").geturl()
