"""Settings: where they come from, what they refuse, and that each one is documented."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from dicomweb_archive.cli.configuration import decode_settings, encode_settings, read_settings
from dicomweb_archive.errors import SetupError
from dicomweb_archive.settings import Settings

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "settings.md").read_text("utf-8")


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DICOMWEB_ARCHIVE_{name.upper()}", raising=False)
    monkeypatch.delenv("DICOMWEB_ARCHIVE_CONFIG", raising=False)
    monkeypatch.delenv("DICOMWEB_ARCHIVE_SECRETS_DIR", raising=False)
    monkeypatch.chdir(tmp_path)


def row(name: str, field: FieldInfo) -> str:
    """The line of docs/settings.md that documents a setting."""
    return f"| `DICOMWEB_ARCHIVE_{name.upper()}` | {shown(field.default)} | {field.description} |"


def shown(default: Any) -> str:
    if default is None or default in ((), ""):
        return "unset"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default}`"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_each_setting_is_documented_with_its_default(name: str) -> None:
    assert row(name, Settings.model_fields[name]) in PAGE.splitlines()


def test_the_page_documents_no_setting_that_does_not_exist() -> None:
    documented = {line.split("`")[1] for line in PAGE.splitlines() if line.startswith("| `DICOMWEB_ARCHIVE_")}
    assert documented == {f"DICOMWEB_ARCHIVE_{name.upper()}" for name in Settings.model_fields} | {
        "DICOMWEB_ARCHIVE_CONFIG",
        "DICOMWEB_ARCHIVE_SECRETS_DIR",
    }


def test_arguments_win_over_the_environment_and_the_environment_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "dicomweb-archive.toml").write_text('port = 1\nworkers = 1\nlog_level = "debug"\n')
    monkeypatch.setenv("DICOMWEB_ARCHIVE_PORT", "2")
    monkeypatch.setenv("DICOMWEB_ARCHIVE_WORKERS", "2")
    settings = read_settings(workers=3, host=None)
    assert (settings.port, settings.workers, settings.log_level, settings.host) == (2, 3, "debug", "127.0.0.1")


def test_a_file_elsewhere_is_read_when_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.toml").write_text("port = 7\n")
    monkeypatch.setenv("DICOMWEB_ARCHIVE_CONFIG", str(tmp_path / "elsewhere.toml"))
    assert Settings().port == 7


def test_a_named_file_that_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOMWEB_ARCHIVE_CONFIG", "/nowhere/archive.toml")
    with pytest.raises(SetupError, match="does not exist"):
        Settings()


def test_a_file_that_is_no_toml_is_refused_without_quoting_it(tmp_path: Path) -> None:
    (tmp_path / "dicomweb-archive.toml").write_text("api_key = secret\n")
    with pytest.raises(SetupError, match="not valid TOML") as caught:
        Settings()
    assert "secret" not in str(caught.value)


@pytest.fixture
def secrets_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setenv("DICOMWEB_ARCHIVE_SECRETS_DIR", str(folder))
    return folder


def secret(value: SecretStr | None) -> str:
    assert value is not None
    return value.get_secret_value()


def test_each_secret_may_lie_in_a_file_of_its_own(secrets_folder: Path) -> None:
    (secrets_folder / "api_key").write_text("from a file\n")
    (secrets_folder / "database_url").write_text("postgresql://archive:word@db/archive\n")
    settings = Settings()
    assert secret(settings.api_key) == "from a file"
    assert secret(settings.database_url) == "postgresql://archive:word@db/archive"


def test_a_secret_in_the_environment_wins_over_its_file_and_the_file_over_the_toml_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, secrets_folder: Path
) -> None:
    (tmp_path / "dicomweb-archive.toml").write_text('api_key = "toml"\n')
    (secrets_folder / "api_key").write_text("file")
    assert secret(Settings().api_key) == "file"
    monkeypatch.setenv("DICOMWEB_ARCHIVE_API_KEY", "environment")
    assert secret(Settings().api_key) == "environment"


def test_only_secrets_are_read_from_the_folder_of_secrets(secrets_folder: Path) -> None:
    (secrets_folder / "port").write_text("1")
    (secrets_folder / "something else").write_bytes(b"\xff")
    assert Settings() == Settings(port=8000)


def test_a_folder_of_secrets_that_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOMWEB_ARCHIVE_SECRETS_DIR", "/nowhere/secrets")
    with pytest.raises(SetupError, match="SECRETS_DIR names a folder that does not exist"):
        Settings()


def test_a_file_of_secrets_that_is_no_text_is_refused_without_quoting_it(secrets_folder: Path) -> None:
    (secrets_folder / "api_key").write_bytes(b"secret\xff")
    with pytest.raises(SetupError, match="cannot be read as text") as caught:
        Settings()
    assert "secret\\" not in str(caught.value)


def test_the_password_of_the_database_goes_into_its_url() -> None:
    settings = Settings(
        database_url="postgresql://archive@db:5432/archive?sslmode=require", database_password="p@ss/w:rd"
    )
    assert secret(settings.database_url) == "postgresql://archive:p%40ss%2Fw%3Ard@db:5432/archive?sslmode=require"
    assert decode_settings(encode_settings(settings)) == settings


@pytest.mark.parametrize("url", [None, "postgresql://db/archive", "postgresql://archive:other@db/archive"])
def test_a_password_without_a_user_or_beside_another_one_is_refused(url: str | None) -> None:
    with pytest.raises(SetupError, match="names a user and has no password itself") as caught:
        read_settings(database_url=url, database_password="hidden")
    assert "hidden" not in str(caught.value)


def test_a_misspelt_name_in_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "dicomweb-archive.toml").write_text("wrokers = 3\n")
    with pytest.raises(SetupError, match="WROKERS"):
        read_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 70_000),
        ("workers", 0),
        ("root_path", "archive"),
        ("root_path", "/archive/"),
        ("public_url", "images.example.org"),
        ("object_store_url", "s3://"),
        ("object_store_url", "s3://Bucket"),
        ("object_store_url", "s3://bucket/a//b"),
        ("object_store_url", "s3://bucket/../b"),
        ("object_store_url", "s3://bucket/ä"),
        ("object_store_url", "s3://key:secret@bucket"),
        ("s3_endpoint_url", "s3.example.org"),
        ("s3_endpoint_url", "https://key:secret@s3.example.org"),
        ("s3_addressing", "host"),
        ("object_store_url", "file://relative/folder"),
        ("log_level", "loud"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(name: str, value: object) -> None:
    with pytest.raises(SetupError, match=f"DICOMWEB_ARCHIVE_{name.upper()}"):
        read_settings(**{name: value})


def test_a_refusal_does_not_show_the_value() -> None:
    with pytest.raises(SetupError) as caught:
        read_settings(port="postgresql://me:secret@host")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("s3://images", ("images", "")),
        ("s3://images/", ("images", "")),
        ("s3://my.images-2/archive/of.2026/", ("my.images-2", "archive/of.2026/")),
        ("file:///mnt/images", None),
        (None, None),
    ],
)
def test_a_bucket_is_named_by_url_with_the_beginning_of_its_keys(
    url: str | None, place: tuple[str, str] | None
) -> None:
    settings = Settings(object_store_url=url, s3_access_key_id="id", s3_secret_access_key="hidden")
    assert settings.object_bucket == place
    assert decode_settings(encode_settings(settings)) == settings
    assert "hidden" not in repr(settings)


@pytest.mark.parametrize("given", [{}, {"s3_access_key_id": "id"}, {"s3_secret_access_key": "hidden"}])
def test_a_bucket_without_a_key_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(SetupError, match="needs s3_access_key_id and s3_secret_access_key") as caught:
        read_settings(object_store_url="s3://images", **given)
    assert "hidden" not in str(caught.value)


def test_the_key_of_a_bucket_comes_from_files_of_secrets(secrets_folder: Path) -> None:
    (secrets_folder / "s3_access_key_id").write_text("id\n")
    (secrets_folder / "s3_secret_access_key").write_text("hidden\n")
    settings = Settings(object_store_url="s3://images")
    assert (secret(settings.s3_access_key_id), secret(settings.s3_secret_access_key)) == ("id", "hidden")


def test_an_open_archive_listens_on_this_machine_only() -> None:
    with pytest.raises(ValidationError, match="api_key"):
        Settings(host="0.0.0.0")
    assert Settings().is_open
    assert not Settings(host="0.0.0.0", api_key="k").is_open


def test_who_wants_an_open_archive_elsewhere_says_so_in_so_many_words() -> None:
    assert Settings(host="0.0.0.0", authentication="none").is_open


def test_keys_of_the_table_are_enough_to_listen_anywhere() -> None:
    assert not Settings(host="0.0.0.0", authentication="keys").is_open


def test_a_key_that_nobody_is_asked_for_is_a_mistake() -> None:
    with pytest.raises(ValidationError, match="authentication=none"):
        Settings(authentication="none", api_key="k")


@pytest.mark.parametrize("key", ["", " ", "\n"])
def test_an_empty_key_is_none_that_somebody_has_chosen(key: str) -> None:
    with pytest.raises(ValidationError, match="must not be empty"):
        Settings(host="0.0.0.0", api_key=key)


def test_blanks_around_a_key_are_not_part_of_it() -> None:
    key = Settings(api_key=" secret\n").api_key
    assert key is not None
    assert key.get_secret_value() == "secret"


def test_what_concerns_several_settings_is_put_under_no_name() -> None:
    with pytest.raises(SetupError) as caught:
        read_settings(host="0.0.0.0")
    (_, line, _) = str(caught.value).splitlines()
    assert line.startswith("  listening on other addresses than loopback needs api_key")


def test_secrets_are_not_shown() -> None:
    settings = Settings(api_key="hidden", database_url="postgresql://u:hidden@h/d")
    assert "hidden" not in repr(settings)
    assert "hidden" not in str(settings.model_dump())


def test_a_worker_gets_the_same_settings_secrets_included(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(
        api_key="secret", database_url="postgresql://u:p@h/d", cors_origins="https://a.example, https://b.example/"
    )
    monkeypatch.setenv("DICOMWEB_ARCHIVE_PORT", "9")
    line = encode_settings(settings)
    assert b"\n" not in line
    assert decode_settings(line) == settings


def test_origins_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOMWEB_ARCHIVE_CORS_ORIGINS", "https://a.example, https://b.example/")
    assert Settings().cors_origins == ("https://a.example", "https://b.example")


def test_names_of_hosts_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOMWEB_ARCHIVE_ALLOWED_HOSTS", " Images.example.org., my_container,")
    assert Settings().allowed_hosts == ("images.example.org", "my_container")


@pytest.mark.parametrize("name", ["https://images.example.org", "images.example.org:8000", "a b", "*.example.org"])
def test_what_could_never_be_the_name_of_a_host_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be names"):
        Settings(allowed_hosts=name)


@pytest.mark.parametrize(
    ("given", "root"),
    [
        ({}, "http://127.0.0.1:8000/dicom-web"),
        ({"host": "::1", "port": 80}, "http://[::1]:80/dicom-web"),
        ({"public_url": "https://images.example.org/"}, "https://images.example.org/dicom-web"),
        (
            {"public_url": "https://example.org", "root_path": "/archive"},
            "https://example.org/archive/dicom-web",
        ),
    ],
    ids=["default", "IPv6", "public URL", "root path"],
)
def test_the_service_root_is_made_of_settings_alone(given: dict[str, Any], root: str) -> None:
    assert Settings(**given).service_root == root


def test_objects_lie_in_the_data_folder_or_where_their_url_says() -> None:
    assert Settings(data_dir=Path("/data")).object_folder == Path("/data/objects")
    assert Settings(object_store_url="file:///mnt/big%20disk").object_folder == Path("/mnt/big disk")


def test_hosts_of_webhooks_are_names_and_only_public_ones_have_stars() -> None:
    settings = Settings(webhook_hosts="Hooks.example.org:8443, *.example.net", webhook_private_hosts="10.0.0.7:9000")
    assert settings.webhook_hosts == ("hooks.example.org:8443", "*.example.net")
    assert settings.webhook_private_hosts == ("10.0.0.7:9000",)
    for wrong in ("https://hooks.example.org", "*", "a.*.org", "hooks.example.org/", "[::1]"):
        with pytest.raises(ValidationError, match="must be names like"):
            Settings(webhook_hosts=wrong)
    with pytest.raises(ValidationError, match="must be names like"):
        Settings(webhook_private_hosts="*.local")
