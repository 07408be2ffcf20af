"""Statistics of generated text and intervals of means, by their names of old."""

from dro_jax.evaluation.intervals import bootstrap_mean_interval
from dro_jax.text_metrics import distinct_n, mean_length

__all__ = ["bootstrap_mean_interval", "distinct_n", "mean_length"]
