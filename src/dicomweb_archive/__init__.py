"""dicomweb-archive: an open DICOMweb archive; `docs/architecture.md` draws its rooms and floors."""
