"""Search: what each kind of query costs on a synthetic archive."""
