"""The inventory of a submission: its attributes by value, and which values a curator has approved."""
