"""Offline alignment of T5 models from single-trajectory feedback, in JAX."""

from dro_jax import shipped_names

__version__ = "0.1.0.dev0"

shipped_names.install()
