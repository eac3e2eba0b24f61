"""dicomweb-archive: an open DICOMweb archive; `docs/architecture.md` draws its rooms and floors."""

__version__ = "0.1.0"
