"""The viewer's study list in the words of those who use it: filter, select, open, upload."""

import datetime
import re
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

_UPLOAD_MS = 90_000


class StudyList:
    """The viewer's first page: a table of studies with filters above it."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self._address = address

    def open(self) -> None:
        """Open the list and wait until there is a study in it."""
        self.page.goto(f"{self._address}/ohif/")
        expect(self.rows.first).to_be_visible()

    @property
    def rows(self) -> Locator:
        """The studies listed."""
        return self.page.locator("tbody tr:not([data-filter-row])")

    def expect_patients(self, *names: str) -> None:
        """Wait until exactly these patients are listed, in the list's order."""
        expect(self.rows.locator("td:first-child")).to_have_text(list(names))

    def filter_by(self, column: str, text: str) -> None:
        """Type into a column's filter."""
        self._filter_cell(column).locator("input").fill(text)

    def filter_modality(self, modality: str) -> None:
        """Choose one of the modalities that the filter offers."""
        self._filter_cell("Modalities").locator("input").click()
        self.page.get_by_role("option", name=modality, exact=True).click()
        self.page.keyboard.press("Escape")

    def filter_dates(self, first: datetime.date, last: datetime.date) -> None:
        """Choose both ends of a range of dates in their calendars."""
        for end, day in (("start", first), ("end", last)):
            self.page.locator(f'[data-cy="input-date-range-{end}"]').click()
            calendar = self.page.locator('[data-slot="calendar"]')
            calendar.get_by_label("Choose the Year").select_option(str(day.year))
            calendar.get_by_label("Choose the Month").select_option(str(day.month - 1))
            calendar.locator(f'[data-day="{day:%-m/%-d/%Y}"]').click()
            # A calendar that is closed before the list has taken its day opens again.
            expect(self.page).to_have_url(re.compile(f"{end}Date={day:%Y%m%d}"))
            self.page.keyboard.press("Escape")
            expect(calendar).to_have_count(0)

    def reset(self) -> None:
        """Take all filters away."""
        self.page.locator("tbody tr[data-filter-row]").get_by_text("Reset", exact=True).click()

    def close_preview(self) -> None:
        """Make room for the columns of patient ID and accession number, which are hidden beside the preview."""
        self.page.get_by_role("button", name="Close preview").click()
        expect(self.page.locator("thead th").filter(has_text="MRN")).to_be_visible()

    def open_study(self, patient: str) -> None:
        """Select a patient's study and start the viewer on it."""
        self.rows.filter(has_text=patient).click()
        self.page.get_by_role("button", name="Basic Viewer").click()

    def upload(self, paths: Sequence[Path]) -> None:
        """Store files with the list's dialog and wait until it says that they are stored."""
        self.page.get_by_role("button", name="Upload", exact=True).click()
        dialog = self.page.get_by_role("dialog")
        dialog.locator("input[type=file]:not([webkitdirectory])").set_input_files(paths)
        expect(dialog).to_contain_text(f"{len(paths)} files completed.", timeout=_UPLOAD_MS)
        dialog.get_by_role("button", name="Close").first.click()

    def _filter_cell(self, column: str) -> Locator:
        names = [name.strip() for name in self.page.locator("thead th").all_inner_texts()]
        return self.page.locator("tbody tr[data-filter-row] td").nth(names.index(column))
