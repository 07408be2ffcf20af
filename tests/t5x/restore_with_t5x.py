"""Restores a checkpoint with T5X's own trainer code; run by test_checkpoints.py.

Usage: restore_with_t5x.py CHECKPOINT orbax|legacy USE SCANNED GATED OUTPUT.npz

USE is `infer` for what t5x.eval and t5x.infer restore: parameters and step, all of which
the checkpoint must hold; `train` for a train state with Adafactor's state afresh; or
`feedback` for that of a DRO-V model, with value network and reference.
"""

import sys

import flax
import jax
import numpy as np
import seqio
from flax.traverse_util import flatten_dict
from t5x import adafactor, models, partitioning, utils

from dro_jax.models.model import FeedbackModel
from dro_jax.models.t5_config import T5Config
from dro_jax.models.t5x_contract import T5XSettings
from dro_jax.objectives import DROV


def network(scanned, gated):
    if scanned:
        from t5x.examples.scalable_t5 import network as module
    else:
        from t5x.examples.t5 import network as module
    options = {"remat_policy": "none", "scan_layers": True} if scanned else {}
    return module.Transformer(module.T5Config(**sizes(gated), **options))


def sizes(gated):
    return {
        "vocab_size": 384,
        "emb_dim": 32,
        "num_heads": 4,
        "head_dim": 8,
        "num_encoder_layers": 2,
        "num_decoder_layers": 2,
        "mlp_dim": 64,
        "mlp_activations": ("gelu", "linear") if gated else ("relu",),
        "logits_via_embedding": not gated,
        "dropout_rate": 0.0,
    }


def feedback_model(scanned, gated, optimizer):
    return FeedbackModel(
        network=T5Config(**sizes(gated), scan_layers=scanned),
        objective=DROV(),
        t5x=T5XSettings(optimizer_def=optimizer),
    )


def main(checkpoint, kind, use, scanned, gated, output):
    vocabulary = seqio.ByteVocabulary()
    optimizer = adafactor.Adafactor(
        logical_factor_rules=adafactor.standard_logical_factor_rules()
    )
    scanned, gated, trained = scanned == "True", gated == "True", use != "infer"
    if use == "feedback":
        model = feedback_model(scanned, gated, optimizer)
    else:
        model = models.EncoderDecoderModel(
            network(scanned, gated), vocabulary, vocabulary, optimizer
        )
    tokens = ("encoder_input_tokens", "decoder_input_tokens", "decoder_target_tokens")
    partitioner = partitioning.PjitPartitioner(num_partitions=1)
    initializer = utils.TrainStateInitializer(
        optimizer_def=optimizer if trained else None,
        init_fn=model.get_initial_variables,
        input_shapes={name: (2, 8) for name in tokens}
        | {name: (2, 1) for name in ("rewards", "trajectory_weights")},
        partitioner=partitioner,
    )
    restore = utils.RestoreCheckpointConfig(
        path=checkpoint,
        mode="specific",
        fallback_to_scratch=trained,
        assignment_map=[(r"state/param_states/.*", None)] if trained else None,
    )
    state, manager = utils.create_checkpoint_manager_and_restore(
        initializer,
        partitioner,
        restore,
        checkpoint,
        jax.random.PRNGKey(0),
        use_orbax=kind == "orbax",
    )
    trees = {"params": state.params, **state.flax_mutables}
    arrays = flatten_dict(jax.device_get(flax.core.unfreeze(trees)), sep="/")
    np.savez(output, step=np.asarray(state.step), **arrays)
    manager.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
