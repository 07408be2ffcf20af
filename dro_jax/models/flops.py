"""What a train step costs in arithmetic: its matrix products, counted exactly.

Counted are the model FLOPs of the rows as they are run, two for each multiply-add:

* projections, feed-forward blocks and output layers at every position, padding too, and
  attention over the whole square, masked or not;
* the backward pass as twice the forward pass;
* a frozen reference's forward pass, and those over mismatched pairs (KTO).

Left out is what is computed anew (rematerialised layers, a second pass over microbatches
of coupled trajectories, logits made twice), and all that is no matrix product: softmax,
norms, the optimiser, below a hundredth of a T5's step. The convention is that of PaLM's
model FLOPs utilisation (arXiv 2204.02311, appendix B).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from dro_jax.models.model import FeedbackModel
from dro_jax.models.shared_prompts import group_size
from dro_jax.models.t5_config import T5Config
from dro_jax.models.value import ValueConfig

_TRAINED = 3  # forward, and a backward pass of two products for each of its own


@dataclasses.dataclass(frozen=True)
class RowShape:
    """What every row of a batch has room for.

    Attributes:
      inputs: L, the encoder's positions.
      targets: T, the decoder's positions.
      slots: S, trajectories.
      prompts: G, prompts; each has S / G places for responses.
    """

    inputs: int
    targets: int
    slots: int
    prompts: int


def train_step_flops(
    model: FeedbackModel, batch: Mapping[str, Any], *, frozen_copy: bool
) -> int:
    """Model FLOPs of an update, of all its rows on all devices.

    Args:
      model: the network, the value estimate and the objective.
      batch: arrays or their shapes, with the rows of the whole batch.
      frozen_copy: whether the reference runs in the step.
    """
    rows, inputs = batch["encoder_input_tokens"].shape
    targets = batch["decoder_target_tokens"].shape[1]
    slots = batch["trajectory_weights"].shape[1]
    row = RowShape(inputs, targets, slots, slots // group_size(batch))
    if model.reward_config is not None:
        return rows * _TRAINED * reward_flops(model.network_config, row)
    policy = logprobs_flops(model.network_config, row)
    total = _TRAINED * policy
    if model.value_config is not None:
        total += _TRAINED * value_flops(model.value_config, model.network_config, row)
    if frozen_copy:
        total += policy
    if model.objective.needs.mismatched:
        total += 2 * policy  # by the policy and by its reference
    return rows * total


def logprobs_flops(config: T5Config, row: RowShape) -> int:
    """A row's forward pass from tokens to log-probabilities."""
    return (
        encoder_flops(config, row.inputs)
        + decoder_flops(config, row.targets, row.inputs)
        + 2 * row.targets * config.emb_dim * config.vocab_size
    )


def value_flops(value: ValueConfig, policy: T5Config, row: RowShape) -> int:
    """A row's forward pass to its values, beyond what the policy computes anyway."""
    if value.network == "policy_logits":
        return 0
    config, total = policy, 0
    positions = row.targets if value.per_token else row.slots
    if value.network == "separate":
        config = value.trunk or policy
        if not value.per_token:
            positions = row.prompts
        total += encoder_flops(config, row.inputs)
        if not value.pools_encoder:
            total += decoder_flops(config, positions, row.inputs)
    if value.pools_encoder:
        total += 2 * row.prompts * row.inputs * config.emb_dim
    return total + 2 * positions * config.emb_dim


def reward_flops(config: T5Config, row: RowShape) -> int:
    """A row's forward pass to a reward model's scores.

    A group's prompt is encoded with each of its responses.
    """
    copies = row.slots // row.prompts
    length = row.inputs + row.targets
    pool_and_head = 2 * row.slots * (length + 1) * config.emb_dim
    return copies * encoder_flops(config, length) + pool_and_head


def encoder_flops(config: T5Config, length: int) -> int:
    """The encoder's forward pass over a row of that length."""
    layer = (
        2 * length * (4 * _projection(config) + _feed_forward(config))
        + 4 * length * length * _heads(config)  # logits, and the weighted values
    )
    return config.num_encoder_layers * layer


def decoder_flops(config: T5Config, length: int, encoded: int) -> int:
    """The decoder's forward pass over a row, up to its output layer.

    Args:
      config: of the network.
      length: the decoder's positions.
      encoded: the encoder's positions, whose keys and values each layer projects.
    """
    layer = (
        2 * length * (6 * _projection(config) + _feed_forward(config))
        + 2 * encoded * 2 * _projection(config)
        + 4 * length * (length + encoded) * _heads(config)
    )
    return config.num_decoder_layers * layer


def _heads(config: T5Config) -> int:
    return config.num_heads * config.head_dim


def _projection(config: T5Config) -> int:
    return config.emb_dim * _heads(config)


def _feed_forward(config: T5Config) -> int:
    return (len(config.mlp_activations) + 1) * config.emb_dim * config.mlp_dim
