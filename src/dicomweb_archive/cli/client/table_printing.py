"""Tables for people: as wide as they are, and safe for a terminal whatever their cells hold."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from dicomweb_archive.cli.client.terminal import printable


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows of cells below their columns; into a pipe nothing is cut off."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*map(printable, row))
    console = Console(markup=False, highlight=False)
    (console if console.is_terminal else Console(markup=False, highlight=False, width=10_000)).print(table)
