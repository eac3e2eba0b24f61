"""Packs and span streams against what the disk and the page cache can do at all, in one run."""
