"""Keys: given out to people and programs one by one, shown once, and known again afterwards."""
