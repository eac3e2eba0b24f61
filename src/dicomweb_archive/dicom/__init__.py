"""The data itself: tags, values, the Part 10 scanner, JSON and XML models, matching. No I/O, no HTTP, no SQL."""
