"""Corrections of data sets: rules, what they mean for an instance, and its file rewritten with pixels as they were."""
