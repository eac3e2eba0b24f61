"""How far a run is: a bar with files, bytes, rate and time left on the terminal, silent elsewhere."""

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text


class _FilesColumn(ProgressColumn):
    """Files that have their outcome, of how many."""

    def render(self, task: Task) -> Text:
        total = task.fields["files_total"]
        return Text(f"{task.fields['files']:,}" + (f"/{total:,}" if total else "") + " files")


class RunProgress:
    """The progress of one run, written to standard error so that standard output stays for results."""

    def __init__(self, title: str) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            _FilesColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(title, total=None, files=0, files_total=0)
        self._files = 0
        self._estimating = False

    def __enter__(self) -> "RunProgress":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def expect(self, files: int, size_bytes: int | None = None) -> None:
        """Set what there is to do in all, as soon as it is known; without bytes they are estimated."""
        self._estimating = size_bytes is None
        self._progress.update(self._task, total=size_bytes, files_total=files)

    def advance(self, size_bytes: int) -> None:
        """Count bytes; negative when they have to be done again."""
        self._progress.advance(self._task, size_bytes)

    def file_done(self) -> None:
        """Count a file that has its outcome."""
        self._files += 1
        self._progress.update(self._task, files=self._files)
        task = self._progress.tasks[0]
        if self._estimating and task.fields["files_total"]:
            estimate = task.completed / self._files * task.fields["files_total"]
            self._progress.update(self._task, total=estimate)
