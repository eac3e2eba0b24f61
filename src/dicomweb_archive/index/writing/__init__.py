"""Writing: what makes instances known, and what takes them away, each request in one transaction."""
