"""Attention that never writes ``[B, H, Q, K]``: a Pallas kernel for TPU."""

from dro_jax.models.attention_kernel.kernel import kernel_attention

__all__ = ["kernel_attention"]
