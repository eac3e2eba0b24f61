"""How long a user of the viewer waits for the first image and for the last."""
