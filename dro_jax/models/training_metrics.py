"""What a train or evaluation step reports, under the names that people look for."""

import functools

import jax
import jax.numpy as jnp

from dro_jax import metrics as metrics_lib
from dro_jax.objectives.interface import Losses, Trajectories

Batch = dict[str, jax.Array]


def training_metrics(
    trajectories: Trajectories, losses: Losses, batch: Batch
) -> metrics_lib.Metrics:
    """Metrics of a batch as sums; the glossary in the README defines each name."""
    return trajectory_metrics(trajectories, losses) | batch_metrics(batch)


def batch_metrics(batch: Batch) -> metrics_lib.Metrics:
    """Those of a batch's rows, whatever the policy makes of them."""
    out = {
        "num_tokens": metrics_lib.Sum(_count(batch)),
        "padding_fraction": _padding_fraction(batch),
    }
    if "truncated" in batch:
        truncated = (batch["truncated"] > 0).astype(jnp.float32)
        out["truncation_rate"] = _mean(truncated, batch["trajectory_weights"])
    return out


def trajectory_metrics(
    trajectories: Trajectories, losses: Losses | None
) -> metrics_lib.Metrics:
    """Those of trajectories, a batch's or a split's, and of their losses.

    Args:
      trajectories: all of them.
      losses: None of trajectories that have none: logged ones, of an objective that
        reads what was known when a response was sampled.
    """
    weights = trajectories.weights
    mean = functools.partial(_mean, weights=weights)
    out = {} if losses is None else _of_losses(losses, mean)
    out |= {
        "rewards/mean": mean(trajectories.rewards),
        "num_trajectories": metrics_lib.Sum(jnp.sum(weights)),
    }
    if trajectories.policy_logprobs is not None:
        out["logps/policy"] = mean(trajectories.policy_logprobs)
    if trajectories.scores is not None:
        scores = jax.lax.stop_gradient(trajectories.scores)
        out["scores/mean"] = mean(scores)
        out["pearson"] = metrics_lib.Correlation.of(
            scores, trajectories.rewards, weights
        )
    if trajectories.reference_logprobs is not None:
        log_ratios = jax.lax.stop_gradient(trajectories.log_ratios)
        out["logps/reference"] = mean(trajectories.reference_logprobs)
        # Of responses that the reference logged, or of those that the policy sampled.
        sampled = trajectories.old_token_logprobs is not None
        out["kl"] = mean(trajectories.old_log_ratios if sampled else -log_ratios)
        out["logratio/mean_square"] = mean(jnp.square(log_ratios))
        sizes = jnp.abs(log_ratios)
        out["logratio/largest"] = metrics_lib.Largest.of(sizes, weights)
        per_root_token = sizes / jnp.sqrt(jnp.maximum(trajectories.lengths, 1.0))
        out["logratio/largest_per_root_token"] = metrics_lib.Largest.of(
            per_root_token, weights
        )
        out["reward_logratio_correlation"] = metrics_lib.Correlation.of(
            trajectories.rewards, log_ratios, weights
        )
    if trajectories.values is not None:
        values = trajectories.trajectory_values
        out["value/mean"] = mean(values)
        out["value/explained_variance"] = _explained_variance(trajectories, values)
    return out


def _of_losses(losses: Losses, mean) -> metrics_lib.Metrics:
    out = {"loss": mean(losses.total)}
    if losses.value is not None:
        out["loss/policy"] = mean(losses.policy)
        out["loss/value"] = mean(losses.value)
    for name, term in losses.terms.items():
        # Residuals of both signs cancel: their mean is 0 long before they are.
        out[name] = mean(jnp.abs(term)) if name == "residual" else mean(term)
    return out


def _explained_variance(trajectories: Trajectories, values: jax.Array):
    """Of rewards by ``[N]`` values; of each token's return, where there are returns."""
    targets, weights = trajectories.rewards, trajectories.weights
    if trajectories.token_returns is not None:
        weights = weights[:, None] * trajectories.token_weights
        targets = trajectories.token_returns
        values = jax.lax.stop_gradient(trajectories.token_values)
    return metrics_lib.ExplainedVariance.of(targets, values, weights)


def _token_counts(batch):
    encoder = jnp.sum((batch["encoder_input_tokens"] > 0).astype(jnp.float32))
    decoder = jnp.sum((batch["decoder_target_tokens"] > 0).astype(jnp.float32))
    return encoder, decoder


def _count(batch):
    return sum(_token_counts(batch))


def _padding_fraction(batch):
    places = batch["encoder_input_tokens"].size + batch["decoder_target_tokens"].size
    return metrics_lib.Mean(total=places - _count(batch), weight=jnp.float32(places))


def _mean(values, weights):
    return metrics_lib.Mean.of(jax.lax.stop_gradient(values), weights)
