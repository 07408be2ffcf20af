"""Settings of the value of the reference, under the name that gin files use."""

from dro_jax.training.before.value_fit import ValueFitConfig

__all__ = ["ValueFitConfig"]
