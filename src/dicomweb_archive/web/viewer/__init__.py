"""The viewer (OHIF) as the archive serves it: its files, its page, and the configuration that leads it to us."""
