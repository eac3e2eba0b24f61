"""Planning: which part of the index answers which part of a query. Pure; nothing here knows SQL."""
