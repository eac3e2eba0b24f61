"""`demo`: something to look at without data of one's own."""

import tempfile
import uuid
from pathlib import Path

import click

from dicomweb_archive.cli.client.connection import RetryPolicy
from dicomweb_archive.cli.client.options import DEFAULT_ROOT, server_of, server_options
from dicomweb_archive.cli.client.sending import SendLimits
from dicomweb_archive.cli.client.store import StoreRun, finish_store
from dicomweb_archive.cli.main import program_name


@click.command()
@server_options("--to")
@click.option(
    "--to-folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the files into this folder instead of storing them.",
)
@click.option("--seed", default="demo", show_default=True, help="Another text gives another patient's studies.")
@click.option("--new", "is_new", is_flag=True, help="Studies that no run before has made.")
@click.option("--slices", type=click.IntRange(8, 512), default=40, show_default=True, help="CT slices.")
def demo(
    root: str,
    key: str | None,
    headers: tuple[tuple[str, str], ...],
    timeout_seconds: float,
    to_folder: Path | None,
    seed: str,
    is_new: bool,
    slices: int,
) -> None:
    """Store generated studies of a head phantom: a CT with a segmentation, and an MR.

    UIDs follow from the seed, so storing the demo twice changes nothing. Exit status as for `store`.
    """
    if is_new:
        seed = uuid.uuid4().hex
    if to_folder is not None:
        count = write_demo(to_folder, seed, slices)
        click.echo(f"{count:,} files written to {to_folder}")
        return
    with tempfile.TemporaryDirectory(prefix="dicomweb-archive-demo-") as folder:
        write_demo(Path(folder), seed, slices)
        run = StoreRun(
            server=server_of(root, key, headers, timeout_seconds),
            limits=SendLimits(),
            all_files=False,
            state_folder=None,
            retry=RetryPolicy(attempts=3),
            each=lambda _outcome: None,
        )
        finish_store([Path(folder)], run, as_json=False)
    source = "" if run.server.root == DEFAULT_ROOT else f" --from {run.server.root}"
    click.echo(f"Look at them: {program_name()} search PatientName='Phantom*'{source}")


def write_demo(folder: Path, seed: str, slices: int) -> int:
    """Write the demo's files below a folder; return their number."""
    # Making pixels needs numpy and pydicom, which the other commands do not wait for.
    from dicomweb_archive.cli.client.phantom import iter_demo

    count = 0
    for instance in iter_demo(seed, ct_slices=slices):
        path = folder / instance.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(instance.data)
        count += 1
    return count
