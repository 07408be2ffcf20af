import numpy as np
import pytest
import small
from array_data import ArrayDataset

from dro_jax import objectives
from dro_jax.errors import ConfigError, DataError
from dro_jax.models.model import FeedbackModel
from dro_jax.objectives import registry
from dro_jax.objectives.interface import Objective
from dro_jax.training.before.checks import (
    check_value_settings,
    fitted_to_rewards,
    local_folder,
)
from dro_jax.training.before.reference import mode_for
from dro_jax.training.before.reference_samples import ReferenceSamples, reads_samples
from dro_jax.training.before.settings_in_use import check_samples, unused_settings
from dro_jax.training.before.value_fit import ValueFitConfig
from dro_jax.training.run_settings import ReferenceSettings, RunData

ALL = [kind() for kind in registry.kinds().values()]


def model_of(objective):
    return FeedbackModel(network=small.NETWORK, objective=objective)


class Rewards:
    """A data set of these rewards."""

    name, split = "task", "train"

    def __init__(self, *rewards):
        self.rewards = np.array(rewards, np.float32)

    def prompt_records(self):
        return self


def test_one_command_line_serves_every_objective():
    for objective in ALL:
        model = model_of(objective)
        reference = ReferenceSettings(
            path="/some/reference",
            mode="cached",
            cache_dir="/some/cache",
            value_dir="/some/value",
            value_fit=ValueFitConfig(),
            samples=ReferenceSamples(),
            samples_dir="/some/samples",
        )
        data = RunData(ArrayDataset(), value_fit=ArrayDataset(split="other"))
        check_value_settings(model, data, reference)
        notes = unused_settings(model, data, reference)
        assert all(type(objective).__name__ in sentence for sentence in notes)
        needs = objective.needs
        expected = 2 * (not needs.reference or needs.mismatched)
        expected += 3 * (not needs.advantages) + 2 * (not reads_samples(needs))
        assert len(notes) == expected, objective


@pytest.mark.parametrize(
    ("objective", "settings", "sentence"),
    [
        (
            objectives.WeightedBC(),
            {"cache_dir": "/c"},
            "REFERENCE_CACHE_DIR is not used by WeightedBC: it has no reference",
        ),
        (
            objectives.KTO(),
            {"cache_dir": "/c"},
            "REFERENCE_CACHE_DIR is not used by KTO: its reference is a frozen copy",
        ),
        (
            objectives.KTO(),
            {"mode": "cached"},
            (
                "REFERENCE is 'frozen_copy' for KTO, which reads log-probabilities of "
                "mismatched pairs, which differ from batch to batch and cannot be cached"
            ),
        ),
        (
            objectives.RPO(),
            {"mode": "frozen_copy"},
            (
                "REFERENCE is 'cached' for RPO, which reads the reference's "
                "log-probabilities of a whole split before it starts"
            ),
        ),
        (
            objectives.PPO(),
            {"mode": "frozen_copy"},
            (
                "REFERENCE is 'cached' for PPO, which reads what the reference said of "
                "responses when they were sampled"
            ),
        ),
        (
            objectives.NLL(),
            {"mode": "cached"},
            "REFERENCE is not used by NLL, which has no reference",
        ),
        (
            objectives.KTO(),
            {"samples": ReferenceSamples()},
            (
                "REFERENCE_SAMPLES is not used by KTO, which reads no advantages, prompt "
                "values or quantiles"
            ),
        ),
        (
            objectives.RPO(),
            {"samples_dir": "/s"},
            "REFERENCE_SAMPLES_DIR is not used by RPO, for which nothing is sampled",
        ),
        (objectives.RPO(), {"samples": ReferenceSamples()}, None),
        (objectives.DROV(), {"mode": "frozen_copy"}, None),
        (objectives.DROV(), {"cache_dir": "/c"}, None),
    ],
)
def test_what_another_objective_reads_is_a_sentence(objective, settings, sentence):
    reference = ReferenceSettings(**settings)
    found = unused_settings(model_of(objective), RunData(), reference)
    assert found == ([sentence] if sentence else [])


def test_samples_of_which_nothing_can_be_made_are_refused():
    class NoValues(objectives.RPO):
        values_of_samples = Objective.values_of_samples

    settings = ReferenceSettings(path="/reference", samples=ReferenceSamples())
    data = RunData(ArrayDataset(), ArrayDataset(split="other"))
    for objective, told in (
        (
            NoValues(),
            "NoValues makes no prompt values of .* leave REFERENCE_SAMPLES out",
        ),
        (
            objectives.QRPO(),
            "ArrayDataset has no tasks with texts: give a DatasetConfig",
        ),
        (objectives.AWR(), "asks prompts of copying"),
    ):
        with pytest.raises(ConfigError, match=told):
            check_samples(model_of(objective), data, settings)
    check_samples(model_of(objectives.KTO()), data, settings)


def test_the_mode_is_the_one_that_the_objective_needs():
    assert mode_for(model_of(objectives.KTO()), "cached") == "frozen_copy"
    for objective in (objectives.RPO(), objectives.PPO()):
        assert mode_for(model_of(objective), "frozen_copy") == "cached"


@pytest.mark.parametrize("kind", ["WeightedBC", "RGold", "RLoL"])
def test_rewards_below_0_are_shifted_where_the_loss_has_no_bound(kind, capsys):
    objective = getattr(objectives, kind)()
    fitted = fitted_to_rewards(model_of(objective), Rewards(1.5, -0.5, 0.25)).objective
    assert fitted.reward_shift == 0.5
    told = capsys.readouterr().err
    assert told.startswith(f"note: {kind} weighs log π by the reward")
    assert "reach down to -0.5: 0.5 is added to each" in told
    fitted = fitted_to_rewards(model_of(objective), Rewards(0.0, 2.0)).objective
    assert not fitted.reward_shift
    chosen = getattr(objectives, kind)(reward_shift=0.0)
    assert fitted_to_rewards(model_of(chosen), Rewards(-1.0, 1.0)).objective == chosen
    assert capsys.readouterr().err == ""


def test_rewards_that_are_all_one_negative_number_are_refused():
    with pytest.raises(DataError, match="all 2 rewards are -1: there is nothing"):
        fitted_to_rewards(model_of(objectives.WeightedBC()), Rewards(-1.0, -1.0))


@pytest.mark.parametrize("kind", ["TOPR", "ALoL", "AWR", "NLL", "UNA"])
def test_losses_with_a_bound_take_rewards_as_they_are(kind):
    model = model_of(getattr(objectives, kind)())
    assert fitted_to_rewards(model, Rewards(-1.0, 1.0)) is model


def test_what_would_silently_not_be_fitted_is_refused():
    class Derived(objectives.WeightedBC):
        needs = objectives.Needs(reference=True)

    with pytest.raises(ConfigError, match="Derived has a fitted_to, .*split_rewards"):
        fitted_to_rewards(model_of(Derived()), Rewards(-1.0, 1.0))


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        (None, "MODEL_DIR = None names no folder"),
        ("", "MODEL_DIR = '' names no folder"),
        ("gs://bucket/run", "is a URL"),
        ("a\0b", "can be no folder (embedded null byte)"),
        ("x" * 300, "can be no folder (File name too long)"),
    ],
)
def test_what_can_be_no_folder_is_refused_by_name(folder, message):
    with pytest.raises(ConfigError) as raised:
        local_folder(folder)
    assert message in str(raised.value)


def test_a_folder_need_not_be_there_yet(tmp_path):
    (tmp_path / "file").touch()
    for name in ("new/run", "file/run"):  # the latter is refused where it is made
        assert local_folder(tmp_path / name) == str(tmp_path / name)
