"""Offline alignment of T5 models from single-trajectory feedback, in JAX."""

__version__ = "0.1.0.dev0"
