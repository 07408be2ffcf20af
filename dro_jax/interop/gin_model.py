"""The gin file of a converted model, for `--gin_file` of `dro-jax train`."""

import math
import pathlib
import shlex

from dro_jax.interop.stored_model import StoredModel

_SIZES = (
    "emb_dim",
    "num_heads",
    "num_encoder_layers",
    "num_decoder_layers",
    "head_dim",
    "mlp_dim",
)
_TEXT = """\
# {version} of {millions:,.1f} million parameters, converted from
# {path}
#
# Required: OBJECTIVE and VALUE (an objective file sets both).
# Command:  dro-jax train --gin_file={file} --gin_file=gin_configs/objectives/dro_v.gin …
from __gin__ import dynamic_registration

from dro_jax.models import model
from dro_jax.models import t5_config

# The policy and the reference must agree before the first update, so dropout is off
# unless a run file says otherwise.
DROPOUT_RATE = 0.0
DTYPE = 'float32'
FLOAT32_RESIDUAL = False
LOGITS_DTYPE = 'float32'
REMAT_POLICY = 'none'
ATTENTION = 'auto'
SCAN_LAYERS = {scan_layers}
VOCAB_SIZE = {vocab_size}

MODEL = @model.FeedbackModel()
model.FeedbackModel:
  network = @t5_config.T5Config()
  objective = %OBJECTIVE
  value = %VALUE

t5_config.T5Config:
  vocab_size = %VOCAB_SIZE
  dtype = %DTYPE
  logits_dtype = %LOGITS_DTYPE
  float32_residual = %FLOAT32_RESIDUAL
  mlp_activations = {mlp_activations}
  logits_via_embedding = {logits_via_embedding}
  dropout_rate = %DROPOUT_RATE
  remat_policy = %REMAT_POLICY
  attention = %ATTENTION
  scan_layers = %SCAN_LAYERS
"""


def gin_model_file(stored: StoredModel, file: pathlib.Path) -> str:
    """The text of a gin file with a stored model's network, like gin_configs/models.

    Args:
      stored: the model.
      file: where the text will lie, for the command that it shows.
    """
    config = stored.config
    count = sum(math.prod(leaf.shape) for leaf in stored.policy.values())
    text = _TEXT.format(
        version="T5 1.0" if config.logits_via_embedding else "T5 1.1",
        millions=count / 1e6,
        path=_in_a_comment(stored.path),
        file=_in_a_comment(shlex.quote(str(file))),
        scan_layers=config.scan_layers,
        vocab_size=config.vocab_size,
        mlp_activations=config.mlp_activations,
        logits_via_embedding=config.logits_via_embedding,
    )
    return text + "".join(f"  {name} = {getattr(config, name)}\n" for name in _SIZES)


def _in_a_comment(text: str) -> str:
    return " ".join(text.splitlines())
