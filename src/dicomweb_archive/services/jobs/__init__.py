"""Jobs: what the archive does later, in the background, and how far it has come."""
