"""Rewards: (prompt, response) to a score with named parts."""
