"""Value estimates V: which network computes them, and what they may see.

The theory (arXiv 2405.19107) wants V(x), a function of the prompt alone. The paper's
ablation has two axes: two networks or one, and several values across the batch or one.
`ValueConfig.network` is the first axis (`separate` is the paper's default,
`shared_head` and `policy_logits` are our two readings of "one network");
`ValueConfig.granularity` is the second (`sequence` is "multiple values", `batch` the
"single value"; `token` is our reading of the text's "a value per token").
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen import partitioning

from dro_jax.errors import ConfigError
from dro_jax.models import t5
from dro_jax.models.shared_prompts import (
    decoder_prompt_ids,
    of_responses,
    prompt_mask,
    prompt_weights,
)
from dro_jax.objectives.interface import weighted_mean

_CHOICES = {
    "network": ("separate", "shared_head", "policy_logits"),
    "granularity": ("sequence", "token", "batch"),
    "readout": ("first_position", "encoder_pool"),
}


@dataclasses.dataclass(frozen=True)
class ValueConfig:
    """How V is computed.

    Attributes:
      network: `separate`, a second T5 with its own parameters and a scalar head;
        `shared_head`, a scalar head on the policy's own states; `policy_logits`, the
        policy's logits themselves, ``V = logsumexp(logits) − log(vocabulary size)``:
        their normaliser is the one number the policy's distribution leaves free.
      granularity: `sequence`, one V(x) a trajectory, read where only the prompt is
        visible; `token`, one V(x, y_<t) at every target position; `batch`, one number,
        the mean of the sequence values over the batch.
      readout: for `sequence` and `batch`, where V is read: the decoder's
        `first_position` (default) or an `encoder_pool`, the mean over the prompt's
        encoder states.
      trunk: the T5 of a `separate` network; default: the policy's configuration.
      trunk_gradient: for `shared_head`, whether the value loss also trains the policy's
        trunk; default no.

    Raises:
      ConfigError: a setting is unknown, or would have no effect with the others.
    """

    network: Literal["separate", "shared_head", "policy_logits"] = "separate"
    granularity: Literal["sequence", "token", "batch"] = "sequence"
    readout: Literal["first_position", "encoder_pool"] | None = None
    trunk: t5.T5Config | None = None
    trunk_gradient: bool | None = None

    def __post_init__(self):
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices and not (name == "readout" and value is None):
                raise ConfigError(
                    f"ValueConfig.{name} = {value!r} is unknown: use one of "
                    + ", ".join(repr(choice) for choice in choices)
                )
        self._refuse_unused("trunk", self.network == "separate")
        self._refuse_unused("trunk_gradient", self.network == "shared_head")
        self._refuse_unused(
            "readout",
            self.granularity != "token" and self.network != "policy_logits",
        )

    def _refuse_unused(self, name: str, used: bool) -> None:
        if getattr(self, name) is not None and not used:
            raise ConfigError(
                f"ValueConfig.{name} has no effect with network = {self.network!r} and "
                f"granularity = {self.granularity!r}: remove it, or change those"
            )

    @property
    def pools_encoder(self) -> bool:
        return self.readout == "encoder_pool"

    @property
    def per_token(self) -> bool:
        return self.granularity == "token"


class ValueHead(nn.Module):
    """A linear map from states to one number, in float32.

    ``[..., D] -> [...]``. The kernel's axes are T5X's canonical ('embed', 'kv').
    """

    @nn.compact
    def __call__(self, states: jax.Array) -> jax.Array:
        kernel = partitioning.param_with_axes(
            "kernel",
            nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal"),
            (states.shape[-1], 1),
            jnp.float32,
            axes=("embed", "kv"),
        )
        return jnp.einsum("...d,d->...", states.astype(jnp.float32), kernel[:, 0])


class ValueNetwork(t5.T5):
    """A second T5 with a scalar head; its trunk takes any T5 checkpoint's weights."""

    def setup(self):
        super().setup()
        self.head = ValueHead()

    def prompt_values(self, batch, readout: str | None, *, enable_dropout=False):
        """V(x) of each trajectory, ``[B, S]``."""
        encoded = self.encode(
            batch["encoder_input_tokens"],
            batch.get("encoder_segment_ids"),
            enable_dropout=enable_dropout,
        )
        if readout == "encoder_pool":
            return self.head(pool_prompts(encoded, batch))
        values = self.head(self._first_states(encoded, batch, enable_dropout))
        return of_responses(values, batch)

    def token_values(self, batch, *, enable_dropout=False):
        """V(x, y_<t) at every target position, ``[B, T]``."""
        encoded = self.encode(
            batch["encoder_input_tokens"],
            batch.get("encoder_segment_ids"),
            enable_dropout=enable_dropout,
        )
        states = self.decode_hidden(
            encoded,
            batch["encoder_input_tokens"],
            batch["decoder_input_tokens"],
            batch["decoder_target_tokens"],
            batch.get("encoder_segment_ids"),
            batch.get("decoder_segment_ids"),
            decoder_prompt_ids=decoder_prompt_ids(batch),
            enable_dropout=enable_dropout,
        )
        return self.head(states)

    def _first_states(self, encoded, batch, enable_dropout):
        # The first position sees only the start token and the prompt, so a decoder
        # input of one start token per prompt gives the state that the whole of any
        # response would, without running the response.
        present = (prompt_weights(batch) > 0).astype(jnp.int32)
        segment_ids = None
        if "encoder_segment_ids" in batch:
            slots = jnp.arange(1, present.shape[1] + 1, dtype=jnp.int32)
            segment_ids = jnp.broadcast_to(slots[None, :], present.shape)
        return self.decode_hidden(
            encoded,
            batch["encoder_input_tokens"],
            jnp.zeros_like(present),
            present,
            batch.get("encoder_segment_ids"),
            segment_ids,
            enable_dropout=enable_dropout,
        )


def pool_prompts(encoded: jax.Array, batch) -> jax.Array:
    """Mean of each trajectory's prompt states, padding excluded: ``[B, S, D]``."""
    mask = prompt_mask(batch).astype(jnp.float32)
    # TPUs and GPUs would round the states to fewer bits for the product.
    totals = jnp.einsum(
        "bsl,bld->bsd", mask, encoded.astype(jnp.float32), precision="highest"
    )
    means = totals / jnp.maximum(jnp.sum(mask, axis=2), 1.0)[..., None]
    return of_responses(means, batch)


def first_positions(per_position: jax.Array, batch) -> jax.Array:
    """What stands at each trajectory's first target position: ``[B, S, ...]``."""
    if "decoder_segment_ids" not in batch:
        return per_position[:, :1]
    slots = jnp.arange(1, batch["trajectory_weights"].shape[1] + 1, dtype=jnp.int32)
    owned = batch["decoder_segment_ids"][..., None] == slots[None, None, :]
    # The first true one; a trajectory that is not there gets position 0 and weight 0.
    starts = jnp.argmax(owned, axis=1)  # [B, S]
    trailing = (1,) * (per_position.ndim - 2)
    return jnp.take_along_axis(
        per_position, starts.reshape(starts.shape + trailing), axis=1
    )


def batch_value(values: jax.Array, weights: jax.Array) -> jax.Array:
    """The mean of the values over the batch, in every place: ``[B, S] -> [B, S]``."""
    return jnp.broadcast_to(weighted_mean(values, weights), values.shape)


def logits_value(logits: jax.Array) -> jax.Array:
    """``logsumexp(logits) − log V``: 0 for all-zero logits. ``[..., V] -> [...]``."""
    normalizers = jax.nn.logsumexp(logits.astype(jnp.float32), axis=-1)
    return normalizer_value(normalizers, logits.shape[-1])


def normalizer_value(normalizers: jax.Array, vocab_size: int) -> jax.Array:
    """:func:`logits_value` from the logits' logsumexp."""
    return normalizers - jnp.log(jnp.float32(vocab_size))
