"""Runs that sample which cannot be, refused by their settings alone."""

import dataclasses

import pytest
import small
from array_data import ArrayDataset
from online_runs import TRAIN, OnRollouts, fresh

from dro_jax.errors import ConfigError
from dro_jax.models.decoding import DecodingConfig
from dro_jax.models.model import FeedbackModel
from dro_jax.models.value import ValueConfig
from dro_jax.objectives import DROV, KTO, NLL, QRPO, RPO, ALoL, BradleyTerry
from dro_jax.training.before.reference_samples import ReferenceSamples
from dro_jax.training.online.checks import check_fresh
from dro_jax.training.online.fresh_samples import FreshSamples
from dro_jax.training.run_settings import ReferenceSettings, RunData


def checked(objective, settings=None, train=TRAIN, mode=None, samples=None, **data):
    value = None
    if objective.needs.rollouts:
        value = ValueConfig(network="shared_head", granularity="token")
    model = FeedbackModel(network=small.NETWORK, objective=objective, value=value)
    said = []
    reference = check_fresh(
        model,
        RunData(train, fresh=settings, **data),
        ReferenceSettings("somewhere", mode, samples=samples),
        said.append,
    )
    return reference.mode, said


@pytest.mark.parametrize(
    ("objective", "settings", "changes", "said"),
    [
        (OnRollouts(), None, {}, "OnRollouts .* set train.fresh_samples"),
        (OnRollouts(), fresh(log_share=0.5), {}, "which no log says"),
        (
            OnRollouts(),
            fresh(decoding=DecodingConfig(top_k=3)),
            {},
            "leave temperature, top_k",
        ),
        (DROV(), fresh(), {"train": None}, "`dro-jax train` alone"),
        (DROV(), fresh(), {"train": ArrayDataset()}, "has no tasks with texts"),
        (BradleyTerry(), fresh(), {}, "answers no prompts"),
        (QRPO(), fresh(), {}, "of which a log has few: sample them"),
        (
            QRPO(),
            fresh(move_reference_every=2),
            {"samples": ReferenceSamples()},
            "reference that the run starts from, which are drawn once",
        ),
        (
            DROV(),
            fresh(),
            {"sampling": "priority"},
            "records of the log, of which none",
        ),
        (
            DROV(),
            fresh(decoding=DecodingConfig(max_decode_length=9)),
            {},
            "= 9 is more than a row's 8 tokens",
        ),
        (
            NLL(),
            fresh(decoding=DecodingConfig()),
            {"train": dataclasses.replace(TRAIN, group_size=2)},
            "each is sampled one",
        ),
        (DROV(), fresh(log_share=0.05), {}, "leaves 0 rows of the log and 8 of"),
        (KTO(), fresh(log_share=0.9), {}, "7 rows of the log and 1 of"),
        (NLL(), fresh(move_reference_every=2), {}, "NLL has no reference"),
        (
            RPO(),
            fresh(move_reference_every=2, log_share=0.5),
            {},
            "which are computed once",
        ),
        (ALoL(), fresh(move_reference_every=2), {}, "which are computed once"),
        (
            DROV(),
            fresh(move_reference_every=2, log_share=0.5),
            {"mode": "cached"},
            "leave REFERENCE out",
        ),
    ],
)
def test_what_cannot_be_is_refused(objective, settings, changes, said):
    with pytest.raises(ConfigError, match=said):
        checked(objective, settings, **changes)


def test_a_moved_reference_beside_the_log_is_a_frozen_copy():
    mode, said = checked(DROV(), fresh(move_reference_every=2, log_share=0.5))
    assert mode == "frozen_copy"
    assert "the reference moves" in said[0]
    assert checked(DROV(), fresh(move_reference_every=2)) == (None, [])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_prompts": 0}, "num_prompts = 0"),
        ({"lag": -1}, "lag = -1"),
        ({"log_share": 1.0}, "FRESH_SAMPLES = None"),
        ({"scale": 0.0}, "above 0"),
        ({"decoding": DecodingConfig(temperature=0.0)}, "must sample"),
        ({"rewards": []}, "REWARD. is empty"),
    ],
)
def test_settings_out_of_range_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        FreshSamples(**settings)


def test_fresh_and_reference_samples_have_one_scale():
    model = FeedbackModel(network=small.NETWORK, objective=RPO())
    reference = ReferenceSettings("somewhere", samples=ReferenceSamples())
    data = [RunData(TRAIN, fresh=x) for x in (fresh(), fresh(shift=-1.0))]
    assert check_fresh(model, data[0], reference, print) == reference
    with pytest.raises(
        ConfigError, match="shift -1 .* and 1 and 0 .*Give both the same"
    ):
        check_fresh(model, data[1], reference, print)
    same = dataclasses.replace(reference, samples=ReferenceSamples(shift=-1.0))
    assert check_fresh(model, data[1], same, print) == same
    with pytest.raises(ConfigError, match="Give both the same"):
        check_fresh(model, data[0], same, print)
    # Of what was logged the scale is any, and of what reads none of both.
    check_fresh(model, data[1], ReferenceSettings("somewhere"), print)
    check_fresh(model.with_objective(DROV()), data[1], reference, print)


def test_a_run_that_goes_on_must_cache_alike():
    """Runs of before, which had no such setting, stay what they are."""
    of = lambda **own: FreshSamples(decoding=DecodingConfig(**own)).identity()
    assert "cache" not in of()
    assert of(batches_in_turn=2) == of()
    assert "most None, cache_dtype bfloat16)" in of(cache_dtype="bfloat16")
