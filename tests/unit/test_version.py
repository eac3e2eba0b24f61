"""The version stands in two places, because the program must know it without its packaging."""

import tomllib
from pathlib import Path

from dicomweb_archive import __version__


def test_package_and_project_agree_on_the_version() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["version"] == __version__
