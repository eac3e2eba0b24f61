"""Storing over HTTP: rates, processor time and memory, by shape, batch and destination, beside a peer in one run."""
