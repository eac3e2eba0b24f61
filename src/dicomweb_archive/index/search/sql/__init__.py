"""SQL of searches: a plan and its shape become text with numbered parameters. Nothing is executed here."""
