"""What is known of a sweep's trials; reports, which stand below sweeps, read it."""

from dro_jax.reporting.sweep_results import RESULTS, SweepResults, SweptTrial

__all__ = ["RESULTS", "SweepResults", "SweptTrial"]
