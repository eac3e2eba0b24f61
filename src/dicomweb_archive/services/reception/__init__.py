"""Reception: one store request in its course, from its parts to durable packs and what is said of each part."""
