"""Commands against any DICOMweb server: store, search, download, and a phantom study to try them with.

Everything here speaks HTTP only; nothing knows how this archive works inside. `httpx` lives in this package.
"""

import click

from dicomweb_archive.cli.client.collections import collections
from dicomweb_archive.cli.client.curation.commands import curate
from dicomweb_archive.cli.client.demo import demo
from dicomweb_archive.cli.client.download import download
from dicomweb_archive.cli.client.search import search
from dicomweb_archive.cli.client.store import store
from dicomweb_archive.cli.client.submission.command import submit
from dicomweb_archive.cli.client.tags import tags
from dicomweb_archive.cli.client.webhooks import webhooks

commands: list[click.Command] = [store, submit, search, tags, download, collections, curate, webhooks, demo]
