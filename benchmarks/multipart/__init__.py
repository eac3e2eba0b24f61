"""Multipart reader against python-multipart: MB/s of a store request's body, in one run."""
