"""A tiny policy, its prompts, and checks of decoded responses."""

import jax
import jax.numpy as jnp
import numpy as np

from dro_jax.models.decoding import Decoded
from dro_jax.models.t5 import T5Config

TINY = T5Config(
    vocab_size=8,
    emb_dim=8,
    num_heads=2,
    head_dim=4,
    num_encoder_layers=1,
    num_decoder_layers=1,
    mlp_dim=8,
)
TINY_PROMPTS = np.array([[5, 3, 2, 1], [4, 1, 0, 0], [7, 7, 1, 0]], np.int32)


def score(network, params, prompts, decoded: Decoded):
    """log π of the decoded tokens, from one teacher-forced pass."""
    batch, samples, length = decoded.tokens.shape
    targets = decoded.tokens.reshape(batch * samples, length)
    inputs = jnp.pad(targets, ((0, 0), (1, 0)))[:, :-1]
    prompts = jnp.repeat(prompts, samples, axis=0)
    logits = jax.jit(network.apply)({"params": params}, prompts, inputs, targets)
    logprobs = jnp.take_along_axis(
        jax.nn.log_softmax(logits), targets[..., None], axis=-1
    )[..., 0]
    return jnp.where(targets > 0, logprobs, 0.0).sum(-1).reshape(batch, samples)


def check_layout(decoded, eos_id=1):
    """Tokens, then EOS if there was room, then padding only; lengths to match."""
    tokens = np.asarray(decoded.tokens)
    for index in np.ndindex(tokens.shape[:2]):
        response, length = tokens[index], decoded.lengths[index]
        ends = np.flatnonzero(response == eos_id)
        assert length == (ends[0] + 1 if ends.size else len(response))
        assert (response[:length] != 0).all()
        assert (response[length:] == 0).all()
