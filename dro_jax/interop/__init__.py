"""Checkpoints of T5X and Hugging Face, in and out, one array at a time."""
