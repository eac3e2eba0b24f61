"""Objects: keys and bytes. The only room that touches the object store; it knows nothing of DICOM."""
