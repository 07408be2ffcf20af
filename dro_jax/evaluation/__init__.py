"""Responses of a policy, and how good they are."""
