"""Ratios that say whether the fast ways are fast, each measured side by side."""
