"""What holds no picture: a report, a PDF and an electrocardiogram."""

from collections.abc import Iterator

from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage
from tests.factories import ROOT, identified, part10
from tests.pydicom_files import bundled, read

REPORT_STUDY, PDF_STUDY, WAVEFORM_STUDY = f"{ROOT}.441", f"{ROOT}.442", f"{ROOT}.443"
REPORT_TEXTS = ("Department of phantoms", "The generated head is well; Größe unverändert.")
PDF_TEXT = "Findings of the generated phantom"


def report() -> bytes:
    """Return a Basic Text SR that comes with pydicom, as an instance of our own that says something."""
    dataset = read(bundled("reportsi.dcm"))
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = REPORT_STUDY, f"{REPORT_STUDY}.1"
    dataset.SOPInstanceUID = f"{REPORT_STUDY}.1.1"
    for item, text in zip(_text_items(dataset), REPORT_TEXTS, strict=True):
        item.TextValue = text
    return part10(dataset)


def _text_items(item: Dataset) -> Iterator[Dataset]:
    """Yield the content items that hold text, outer ones first."""
    for inner in item.get("ContentSequence", []):
        if "TextValue" in inner:
            yield inner
        yield from _text_items(inner)


def waveform() -> bytes:
    """Return a 12-lead ECG that comes with pydicom, as an instance of our own."""
    dataset = read(bundled("waveform_ecg.dcm"))
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = WAVEFORM_STUDY, f"{WAVEFORM_STUDY}.1"
    dataset.SOPInstanceUID = f"{WAVEFORM_STUDY}.1.1"
    return part10(dataset)


def pdf_instance() -> bytes:
    """Return an Encapsulated PDF (PS3.3 A.45.1)."""
    dataset = identified(
        sop_class=EncapsulatedPDFStorage,
        Modality="DOC",
        StudyInstanceUID=PDF_STUDY,
        SeriesInstanceUID=f"{PDF_STUDY}.1",
        SOPInstanceUID=f"{PDF_STUDY}.1.1",
        PatientID="PDF",
        PatientName="Document^Pdf",
        SeriesDescription="Written report",
    )
    dataset.ConversionType, dataset.BurnedInAnnotation, dataset.DocumentTitle = "WSD", "NO", "Written report"
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocument = pdf() + bytes(len(pdf()) % 2)
    return part10(dataset)


def pdf() -> bytes:
    """Return a PDF of one page with one line of text, and long enough to be bulk data."""
    text = f"BT /F1 24 Tf 72 720 Td ({PDF_TEXT}) Tj ET"
    objects = (
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources 6 0 R >>",
        f"<< /Length {len(text)} >>\nstream\n{text}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        "<< /Font << /F1 5 0 R >> >>",
    )
    document, places = "%PDF-1.4\n" + f"%{'filler ' * 1000}\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(document))
        document += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    size = len(objects) + 1
    trailer = f"trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{len(document)}\n%%EOF\n"
    return f"{document}xref\n0 {size}\n0000000000 65535 f \n{table}{trailer}".encode("ascii")
