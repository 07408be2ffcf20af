"""The checkpoint that a run under T5X starts from."""

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import small

from dro_jax.errors import ConfigError
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import DROP, DROV, NLL
from dro_jax.t5x_runtime.start import initial_checkpoint, task_vocabulary
from dro_jax.training.checkpoints import load_params


def restored(path):
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(f"{path}/state")


def assert_equal(tree, wanted):
    assert jax.tree.structure(tree) == jax.tree.structure(wanted)
    for a, b in zip(small.leaves(tree), small.leaves(wanted), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("reference", ["frozen_copy", "cached"])
def test_policy_value_and_reference_are_in_place(tmp_path, reference_of, reference):
    source = reference_of(small.NETWORK)
    model = FeedbackModel(network=small.NETWORK, objective=DROV())
    path = initial_checkpoint(
        source, model=model, model_dir=tmp_path, reference=reference
    )
    assert path == str(tmp_path / "initial_checkpoint" / "checkpoint_0")
    found, policy = restored(path), load_params(source)
    value = found["target"].pop("value")
    assert_equal(found["target"], policy)
    assert_equal(value["encoder"], policy["encoder"])
    assert np.abs(value["head"]["kernel"]).max() > 0
    if reference == "frozen_copy":
        assert_equal(found["flax_mutables"]["reference"], policy)
    else:
        assert "flax_mutables" not in found


def test_what_a_run_left_before_its_first_save_is_made_anew(tmp_path, reference_of):
    model = FeedbackModel(network=small.NETWORK, objective=DROP())
    settings = {"model": model, "model_dir": str(tmp_path)}
    source = reference_of(small.NETWORK)
    path = initial_checkpoint(source, **settings)
    assert "flax_mutables" not in restored(path)
    path = initial_checkpoint(source, **settings, reference="frozen_copy")
    assert_equal(restored(path)["flax_mutables"]["reference"], load_params(source))
    with pytest.raises(ConfigError, match="REFERENCE = 'frozen' is unknown"):
        initial_checkpoint(source, **settings, reference="frozen")


def test_a_run_that_goes_on_is_left_alone(tmp_path, reference_of):
    source = reference_of(small.NETWORK)
    model = FeedbackModel(network=small.NETWORK, objective=DROP())
    (tmp_path / "checkpoint_5").mkdir()
    initial_checkpoint(source, model=model, model_dir=tmp_path)
    assert not (tmp_path / "initial_checkpoint").exists()


def test_without_a_path_parameters_are_random(tmp_path):
    model = FeedbackModel(network=small.NETWORK, objective=NLL())
    assert initial_checkpoint(None, model=model, model_dir=tmp_path) == []
    anchored = FeedbackModel(network=small.NETWORK, objective=DROP())
    with pytest.raises(ConfigError, match="INITIAL_CHECKPOINT_PATH"):
        initial_checkpoint(None, model=anchored, model_dir=tmp_path)


def test_the_vocabulary_is_the_tasks():
    vocabulary = task_vocabulary("support_desk", "dro_jax.tasks.support_desk.task")
    assert vocabulary.vocab_size == 228
    # T5X evaluates and answers for no other than that of seqio's task.
    import seqio

    features = seqio.get_mixture_or_task("support_desk").output_features
    assert vocabulary == features["targets"].vocabulary
