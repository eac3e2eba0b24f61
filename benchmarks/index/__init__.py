"""Index: what registering, locating and answering with metadata cost, beside bare limits of the same run."""
