"""Losses of two responses to one prompt, one preferred to the other."""

import jax
import jax.numpy as jnp

from dro_jax.objectives import _arithmetic as arithmetic
from dro_jax.objectives.checks import check_per_trajectory, check_positive


def dpo(
    chosen_policy_logprobs: jax.Array,
    rejected_policy_logprobs: jax.Array,
    chosen_reference_logprobs: jax.Array,
    rejected_reference_logprobs: jax.Array,
    *,
    beta: float = 0.1,
) -> jax.Array:
    """Direct preference optimisation: logistic regression on the preference.

    ``−log σ(β (ℓ_w − ℓ_l))``, w the chosen and l the rejected response of one prompt.

    Source: arXiv 2305.18290.

    Args:
      chosen_policy_logprobs: ``[N]`` float32 log π_θ(y_w|x), summed over tokens, nats.
      rejected_policy_logprobs: ``[N]`` log π_θ(y_l|x).
      chosen_reference_logprobs: ``[N]`` log π_ref(y_w|x); no gradient flows into it.
      rejected_reference_logprobs: ``[N]`` log π_ref(y_l|x); no gradient flows into it.
      beta: inverse temperature, per nat.

    Returns:
      ``[N]`` losses, one a pair, nats.

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or beta not positive.
    """
    margins = _margins(
        chosen_policy_logprobs,
        rejected_policy_logprobs,
        chosen_reference_logprobs,
        rejected_reference_logprobs,
    )
    check_positive(beta=beta)
    return -jax.nn.log_sigmoid(beta * margins)


def ipo(
    chosen_policy_logprobs: jax.Array,
    rejected_policy_logprobs: jax.Array,
    chosen_reference_logprobs: jax.Array,
    rejected_reference_logprobs: jax.Array,
    *,
    tau: float,
) -> jax.Array:
    """Identity preference optimisation: the margin regressed on a constant.

    ``(ℓ_w − ℓ_l − 1/(2τ))²``, w the chosen and l the rejected response of one prompt.

    Source: arXiv 2310.12036. Sums over tokens as there; the length-averaged variant is
    this function of the four log-probabilities divided by their responses' lengths.

    Args:
      chosen_policy_logprobs: ``[N]`` float32 log π_θ(y_w|x), summed over tokens, nats.
      rejected_policy_logprobs: ``[N]`` log π_θ(y_l|x).
      chosen_reference_logprobs: ``[N]`` log π_ref(y_w|x); no gradient flows into it.
      rejected_reference_logprobs: ``[N]`` log π_ref(y_l|x); no gradient flows into it.
      tau: strength of the KL term, per nat; the margin sought is 1/(2τ) nats.

    Returns:
      ``[N]`` losses, one a pair, nat².

    Raises:
      TypeError, ValueError: wrong type, rank or shape, or tau not positive.
    """
    margins = _margins(
        chosen_policy_logprobs,
        rejected_policy_logprobs,
        chosen_reference_logprobs,
        rejected_reference_logprobs,
    )
    check_positive(tau=tau)
    return jnp.square(margins - 1 / (2 * tau))


def _margins(chosen_policy, rejected_policy, chosen_reference, rejected_reference):
    """``ℓ_w − ℓ_l``."""
    check_per_trajectory(
        chosen_policy_logprobs=chosen_policy,
        rejected_policy_logprobs=rejected_policy,
        chosen_reference_logprobs=chosen_reference,
        rejected_reference_logprobs=rejected_reference,
    )
    chosen = arithmetic.log_ratios(chosen_policy, chosen_reference)
    return chosen - arithmetic.log_ratios(rejected_policy, rejected_reference)
