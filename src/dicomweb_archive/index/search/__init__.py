"""Search: from keys and filters to finished DICOM JSON (PS3.18 10.6)."""
