"""The OpenAPI description of the archive; `python -m` prints it."""
