"""The T5 encoder-decoder (versions 1.0 and 1.1), https://arxiv.org/abs/1910.10683.

Parameter trees and logical axes are those of T5X: of its ``t5`` networks, or of its
``scalable_t5`` networks with ``scan_layers``. The two differ in one thing that
matters: ``t5`` shares one relative position bias among the layers of a stack,
``scalable_t5`` has one in each layer (see :mod:`dro_jax.models.layer_stacking`).
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dro_jax.models import layers
from dro_jax.models.attention_mask import AttentionMask, segments_of
from dro_jax.models.t5_config import T5Config
from dro_jax.models.t5_stacks import Decoder, Encoder

__all__ = ["T5", "T5Config", "output_layer"]


def _check_segments(encoder_segment_ids, decoder_segment_ids) -> None:
    if (encoder_segment_ids is None) != (decoder_segment_ids is None):
        raise ValueError(
            "A packed batch needs encoder_segment_ids and decoder_segment_ids; "
            "only one of them was given."
        )


class T5(nn.Module):
    """An encoder-decoder that maps token ids to logits.

    Token 0 is padding: no real position attends to it, and what is computed at
    padding positions is finite and meaningless.

    Attributes:
      config: sizes and options.
    """

    config: T5Config

    def setup(self) -> None:
        cfg = self.config
        self.token_embedder = layers.Embed(
            cfg.vocab_size, cfg.emb_dim, cfg.residual_dtype
        )
        self.encoder = Encoder(cfg)
        self.decoder = Decoder(cfg)

    def encode(
        self,
        encoder_input_tokens: jax.Array,
        encoder_segment_ids: jax.Array | None = None,
        *,
        enable_dropout: bool = False,
    ) -> jax.Array:
        """Encodes prompts.

        Args:
          encoder_input_tokens: int32 ``[B, L]``.
          encoder_segment_ids: int32 ``[B, L]`` of a packed batch, 0 for padding.
          enable_dropout: uses the ``dropout`` random stream.

        Returns:
          ``[B, L, D]`` in the activation dtype, after the final norm and dropout.
        """
        segments = segments_of(encoder_input_tokens > 0, encoder_segment_ids)
        return self.encoder(
            self.token_embedder(encoder_input_tokens),
            AttentionMask(segments, segments),
            deterministic=not enable_dropout,
        )

    def decode_hidden(
        self,
        encoded: jax.Array | None,
        encoder_input_tokens: jax.Array,
        decoder_input_tokens: jax.Array,
        decoder_target_tokens: jax.Array | None,
        encoder_segment_ids: jax.Array | None = None,
        decoder_segment_ids: jax.Array | None = None,
        *,
        decoder_prompt_ids: jax.Array | None = None,
        enable_dropout: bool = False,
        decode: bool = False,
        max_decode_length: int | None = None,
    ) -> jax.Array:
        """Runs the decoder up to, but without, the output layer.

        With ``decode`` it works step by step on the ``cache`` collection, which must
        be mutable. The first call makes an empty cache for ``max_decode_length``
        steps and projects ``encoded`` for cross-attention; its result means nothing.
        Each later call takes the next input token of every row, ``[N, 1]``. N may be
        a multiple K of B: rows i·K to i·K + K − 1 then continue prompt i.

        Args:
          encoded: ``[B, L, D]`` from :meth:`encode`; may be None once cached.
          encoder_input_tokens: int32 ``[B, L]``, for the mask.
          decoder_input_tokens: int32 ``[B, T]``, the targets shifted right.
          decoder_target_tokens: int32 ``[B, T]``, for the mask; unused by ``decode``.
          encoder_segment_ids: int32 ``[B, L]`` of a packed batch.
          decoder_segment_ids: int32 ``[B, T]`` of a packed batch.
          decoder_prompt_ids: int32 ``[B, T]``, the encoder's segment that each token
            attends to; default ``decoder_segment_ids``.
          enable_dropout: uses the ``dropout`` random stream.
          decode: step-by-step decoding.
          max_decode_length: number of steps the cache holds; required by ``decode``.

        Returns:
          ``[B, T, D]`` in the activation dtype, after the final norm and dropout.

        Raises:
          ValueError: segment ids for one side only or while decoding, or no
            ``max_decode_length`` while decoding.
        """
        _check_segments(encoder_segment_ids, decoder_segment_ids)
        encoder_valid = encoder_input_tokens > 0
        if decode:
            if max_decode_length is None or encoder_segment_ids is not None:
                raise ValueError(
                    "Step-by-step decoding needs max_decode_length and takes no "
                    "packed batch."
                )
            self_mask = None
            cross_mask = encoder_valid[:, None, None, :]
        else:
            valid = decoder_target_tokens > 0
            segments = segments_of(valid, decoder_segment_ids)
            self_mask = AttentionMask(segments, segments, causal=True)
            if decoder_prompt_ids is not None:
                segments = segments_of(valid, decoder_prompt_ids)
            cross_mask = AttentionMask(
                segments, segments_of(encoder_valid, encoder_segment_ids)
            )
        return self.decoder(
            self.token_embedder(decoder_input_tokens),
            encoded,
            self_mask,
            cross_mask,
            deterministic=not enable_dropout,
            cache_length=max_decode_length if decode else None,
        )

    def logits(self, hidden: jax.Array) -> jax.Array:
        """Applies the output layer: ``[..., D]`` to float32 ``[..., V]``."""
        if self.config.logits_via_embedding:
            # The table's initial variance is 1, not 1 / D.
            scaled = hidden.astype(jnp.float32) * self.config.emb_dim**-0.5
            return self.token_embedder.attend(scaled)
        return self.decoder.logits(hidden)

    def __call__(
        self,
        encoder_input_tokens: jax.Array,
        decoder_input_tokens: jax.Array,
        decoder_target_tokens: jax.Array,
        encoder_segment_ids: jax.Array | None = None,
        decoder_segment_ids: jax.Array | None = None,
        encoder_positions: jax.Array | None = None,
        decoder_positions: jax.Array | None = None,
        *,
        enable_dropout: bool = False,
        decode: bool = False,
        max_decode_length: int | None = None,
    ) -> jax.Array:
        """Computes the logits of every target token given the prompt.

        Args:
          encoder_input_tokens: int32 ``[B, L]``.
          decoder_input_tokens: int32 ``[B, T]``.
          decoder_target_tokens: int32 ``[B, T]``.
          encoder_segment_ids, decoder_segment_ids: as in :meth:`decode_hidden`.
          encoder_positions, decoder_positions: accepted for T5X's batches and not
            needed: T5 sees positions only through distances within a segment.
          enable_dropout, decode, max_decode_length: as in :meth:`decode_hidden`.

        Returns:
          float32 ``[B, T, V]``.

        Raises:
          ValueError: as :meth:`decode_hidden`.
        """
        del encoder_positions, decoder_positions
        encoded = self.encode(
            encoder_input_tokens, encoder_segment_ids, enable_dropout=enable_dropout
        )
        hidden = self.decode_hidden(
            encoded,
            encoder_input_tokens,
            decoder_input_tokens,
            decoder_target_tokens,
            encoder_segment_ids,
            decoder_segment_ids,
            enable_dropout=enable_dropout,
            decode=decode,
            max_decode_length=max_decode_length,
        )
        return self.logits(hidden)


def output_layer(
    config: T5Config, params: dict[str, Any], hidden: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """What :meth:`T5.logits` multiplies: float32 states ``[..., D]``, kernel ``[D, V]``.

    For callers that make logits a chunk at a time.
    """
    hidden = hidden.astype(jnp.float32)
    if config.logits_via_embedding:
        return hidden * config.emb_dim**-0.5, params["token_embedder"]["embedding"].T
    return hidden, params["decoder"]["logits_dense"]["kernel"]
