"""What the archive does: one file a transaction family. No framework, no driver."""
