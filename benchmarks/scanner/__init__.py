"""Scanner against pydicom: how much cheaper the two speeds of the scanner are, in one run."""
