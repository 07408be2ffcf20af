"""Runs that sample: rounds of fresh responses, by themselves or mixed with the log."""
