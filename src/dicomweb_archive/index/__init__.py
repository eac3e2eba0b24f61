"""The tag index: everything PostgreSQL. The only room with SQL."""
