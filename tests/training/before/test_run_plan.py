"""What a run's plan refuses, whoever makes it, before anything is computed."""

import dataclasses
import gc
import shutil
import types

import jax
import pytest
import seqio
import small
import stored
from array_data import ArrayDataset
from flax.traverse_util import flatten_dict
from training_runs import HELD_OUT, run

from dro_jax.errors import CheckpointError, ConfigError, DataError
from dro_jax.interop import formats
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import AWR, DROP, DROV, NLL, ALoLSeq
from dro_jax.t5x_runtime.forward_steps import forward_steps
from dro_jax.training.before.prepared_run import prepare_run
from dro_jax.training.before.run_plan import plan_run
from dro_jax.training.before.value_fit import ValueFitConfig
from dro_jax.training.checkpoints import load_params
from dro_jax.training.run_settings import ReferenceSettings, RunData
from dro_jax.training.sharding import MeshConfig

MODEL = FeedbackModel(network=small.NETWORK, objective=NLL())


def plan(objective, data, reference=None, **settings):
    settings = {"model_dir": None, "mesh": MeshConfig(data=1)} | settings
    model = MODEL.with_objective(objective)
    return plan_run(model, data, reference or ReferenceSettings(), **settings)


def test_a_value_is_not_judged_by_what_it_was_fitted_to(tmp_path, reference_dir):
    reference = ReferenceSettings(path=str(reference_dir))
    data = RunData(ArrayDataset(), HELD_OUT, value_fit=HELD_OUT)
    with pytest.raises(ConfigError, match="its prompts would judge what was fitted"):
        plan(AWR(), data, reference, model_dir=str(tmp_path))
    shared = plan(
        AWR(), RunData(ArrayDataset(), HELD_OUT), reference, model_dir=tmp_path
    )
    assert shared.judged_fraction == 0.5
    other = ArrayDataset(num_epochs=1, split="other")
    data = RunData(ArrayDataset(), HELD_OUT, value_fit=other)
    assert plan(AWR(), data, reference, model_dir=tmp_path).judged_fraction is None
    # An objective that fits no value says that the split is not used, and takes it.
    told = []
    data = RunData(ArrayDataset(), HELD_OUT, value_fit=HELD_OUT)
    plan(NLL(), data, tell=told.append)
    assert told == [
        "train.value_fit_dataset_cfg is not used by NLL, which reads no advantages"
    ]


def test_a_value_that_is_fitted_to_what_is_trained_on_is_told(tmp_path, reference_dir):
    data = RunData(ArrayDataset(), HELD_OUT, value_fit=ArrayDataset(num_epochs=1))
    told, reference = [], ReferenceSettings(path=str(reference_dir))
    plan(AWR(), data, reference, model_dir=str(tmp_path), tell=told.append)
    assert len(told) == 1
    assert "fitted to 'train', on which the policy is trained" in told[0]


def test_a_split_to_fit_that_the_task_lacks_is_named(tmp_path, reference_dir):
    class Nowhere(ArrayDataset):
        def has_split(self):
            return False

    data = RunData(ArrayDataset(), HELD_OUT, value_fit=Nowhere(split="nowhere"))
    with pytest.raises(ConfigError, match="copying has no split 'nowhere', and AWR"):
        plan(
            AWR(), data, ReferenceSettings(path=str(reference_dir)), model_dir=tmp_path
        )


def test_what_is_no_data_set_is_refused_with_what_it_lacks():
    no_data = types.SimpleNamespace(name="x", split="train", batch_size=8)
    with pytest.raises(
        ConfigError, match="EVAL_DATASET.* which lacks group_size, .*batches"
    ):
        plan(NLL(), RunData(ArrayDataset(), no_data))


def test_a_data_set_may_hand_on_what_it_is_asked_for():
    class Wrapped:
        def __init__(self, dataset):
            self._dataset = dataset

        def __getattr__(self, name):
            return getattr(self._dataset, name)

    wrapped = Wrapped(ArrayDataset())
    assert plan(NLL(), RunData(wrapped)).data.train is wrapped
    no_data = Wrapped(types.SimpleNamespace(name="x", split="train", batch_size=8))
    with pytest.raises(ConfigError, match=r"lacks group_size, .*batches"):
        plan(NLL(), RunData(no_data))


@pytest.mark.parametrize("folder", ["x" * 300, "a\0b"])
def test_a_cache_folder_that_can_be_none_is_refused(reference_dir, folder):
    reference = ReferenceSettings(str(reference_dir), cache_dir=folder)
    with pytest.raises(ConfigError, match="REFERENCE_CACHE_DIR = .* can be no folder"):
        plan(DROP(), RunData(ArrayDataset()), reference)


@pytest.mark.parametrize(
    ("data", "microbatches"),
    [
        (RunData(ArrayDataset(batch_size=6)), 4),
        (RunData(ArrayDataset(), ArrayDataset(batch_size=7, split="validation")), 1),
    ],
    ids=["train", "held_out"],
)
def test_a_batch_that_the_devices_do_not_divide_is_refused(data, microbatches):
    settings = {"mesh": MeshConfig(data=2), "num_microbatches": microbatches}
    with pytest.raises(ConfigError, match="BATCH_SIZE = . rows do not divide"):
        plan(NLL(), data, **settings)


def test_a_checkpoint_with_another_tokenizer_is_refused(tmp_path, reference_dir):
    policy = flatten_dict(load_params(reference_dir), sep="/")
    formats.write_model(stored.stored_model(policy), tmp_path / "hf", "hf")
    shutil.copy("tasks/support_desk/support_desk.model", tmp_path / "hf/spiece.model")
    data = RunData(ArrayDataset(vocabulary=seqio.ByteVocabulary()))
    reference = ReferenceSettings(path=str(tmp_path / "hf"))
    with pytest.raises(DataError, match="of SentencePiece, but .* of bytes"):
        plan(NLL(), data, reference)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"initial_checkpoint_path": "/no/such/folder"}, "no checkpoint at /no/such"),
        (
            {"network": dataclasses.replace(small.NETWORK, mlp_dim=32)},
            r"has shape \(16, 24\), the model needs",
        ),
    ],
)
def test_a_dry_run_refuses_what_a_run_refuses(
    tmp_path, reference_dir, changes, message
):
    settings = {"initial_checkpoint_path": str(reference_dir)} | changes
    with pytest.raises(CheckpointError, match=message):
        run(tmp_path, DROV(), dry_run=print, **settings)
    assert not list(tmp_path.iterdir())


def test_a_run_that_recorded_no_data_does_not_go_on():
    """As those of the first versions: what they had read nobody knows."""
    planned = plan(NLL(), RunData(ArrayDataset()))
    with pytest.raises(CheckpointError, match="records: not recorded → 48 from"):
        prepare_run(planned, None, began={})


def test_nothing_of_the_reference_stays_on_the_devices(tmp_path, reference_dir):
    """The state is made right after, before Python looks for circles."""
    fit = ValueFitConfig(num_heads=2, num_epochs=1)
    reference = ReferenceSettings(path=str(reference_dir), value_fit=fit)
    data = RunData(ArrayDataset(), HELD_OUT)
    planned = plan(ALoLSeq(), data, reference, model_dir=str(tmp_path))
    steps = forward_steps(planned.model, MeshConfig(data=1))
    gc.collect()
    gc.disable()
    try:
        before = {id(array) for array in jax.live_arrays()}
        prepared = prepare_run(planned, steps)
        assert prepared.fit is not None
        assert [x.shape for x in jax.live_arrays() if id(x) not in before] == []
    finally:
        gc.enable()


def test_an_example_has_the_fields_of_a_prepared_batch(tmp_path, reference_dir):
    """Its values mean nothing: benchmarks and dry runs read shapes and types."""
    reference = ReferenceSettings(
        path=str(reference_dir), value_fit=ValueFitConfig(num_heads=2, num_epochs=1)
    )
    data = RunData(ArrayDataset(), HELD_OUT)
    planned = plan(ALoLSeq(), data, reference, model_dir=str(tmp_path))
    steps = forward_steps(planned.model, MeshConfig(data=1))
    batch = next(prepare_run(planned, steps).train.batches())
    example = planned.example(next(data.train.batches()))
    assert {n: (x.shape, x.dtype) for n, x in example.items()} == {
        n: (x.shape, x.dtype) for n, x in batch.items()
    }
