"""Store and series stream over HTTP against the bare limits of the same HTTP server, in one run."""
