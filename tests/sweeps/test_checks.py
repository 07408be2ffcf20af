"""Sweeps that cannot be planned are refused in a sentence that names the place."""

import pytest

from dro_jax import sweeps
from dro_jax.errors import ConfigError
from dro_jax.sweeps.checks import check_sweep

OBJECTIVES = sweeps.Files("objective", {"DRO-V": "dro_v.gin", "KTO": ["kto.gin"]})
TAU = sweeps.Grid("TAU", (0.1, 1.0))
RATE = sweeps.Uniform("LEARNING_RATE", 1e-5, 1e-3, log=True)
SEARCH = sweeps.Search(num_trials=4)


def stage(name="policies", **fields):
    return sweeps.Stage(name, fields.pop("gin_files", ("run.gin",)), **fields)


def policies(**fields):
    return sweeps.Sweep([stage(**{"axes": (OBJECTIVES,), **fields})])


def sweep(*stages, **fields):
    return sweeps.Sweep([*stages], **{"compared": "objective", **fields})


@pytest.mark.parametrize(
    "found",
    [
        policies(),
        policies(axes=(OBJECTIVES, TAU, sweeps.Seeds())),
        policies(axes=(sweeps.Zip((OBJECTIVES, TAU)),)),
        policies(axes=(OBJECTIVES, RATE), search=SEARCH),
        policies(gin_files=("run.gin", "$objective")),
        policies(bindings={"TRAIN_PATH": "$HOME/logs", "OTHER": "a price of $5"}),
        sweep(stage("reference"), stage(bindings={"START": "$reference/checkpoint_3"})),
    ],
)
def test_sweeps_that_can_be_planned(found):
    check_sweep(found)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (None, "SWEEP = None is no sweep"),
        (sweep(), "Sweep.stages is empty"),
        (sweep(stage("a"), stage("a")), "two stages are called a"),
        (sweep(stage("../a")), "'../a': the name is a folder's"),
        (sweep(stage("report")), "the name of another folder of the sweep"),
        (policies(gin_files="run.gin"), "gin_files is a list of files"),
        (policies(axes=(TAU, TAU)), "stage policies: two axes are called TAU"),
        (
            policies(axes=(OBJECTIVES, TAU), bindings={"TAU": 1.0}),
            "TAU is an axis and is set in its bindings too",
        ),
        (
            policies(
                axes=(sweeps.Files("objective", {"a": ["a.gin", "TAU = 2"]}), TAU)
            ),
            "TAU is an axis and is set by objective 'a' too",
        ),
        (
            policies(axes=(sweeps.Zip((OBJECTIVES, sweeps.Grid("TAU", (1,)))),)),
            "objective has 2, TAU has 1 values",
        ),
        (policies(axes=(sweeps.Zip((RATE,)),)), "must be as @sweeps.Grid"),
        (policies(axes=(sweeps.Grid("TAU", ()),)), "axis TAU has no values"),
        (policies(axes=(sweeps.Grid("TAU", 0.1),)), "values = 0.1 must be a list"),
        (policies(axes=(sweeps.Grid("TAU", (1, 1)),)), "twice has the value 1"),
        (policies(axes=(sweeps.Grid("T AU", (1,)),)), "can be no axis's name"),
        (policies(axes=(sweeps.Seeds((0.5,)),)), "seeds are whole numbers"),
        (
            policies(axes=(sweeps.Seeds(), sweeps.Seeds(name="OTHER"))),
            "two axes of seeds",
        ),
        (
            policies(axes=(sweeps.Files("objective", {"a": "a.txt"}),)),
            "'a.txt' is neither a file that ends in .gin nor a binding",
        ),
        (policies(axes=(OBJECTIVES, RATE)), "LEARNING_RATE is a range, from which"),
        (policies(search=SEARCH), "has a search and no range"),
        (
            policies(axes=(sweeps.Uniform("TAU", 2, 1),), search=SEARCH),
            "low = 2 must be below high = 1",
        ),
        (
            policies(axes=(sweeps.Uniform("TAU", 0, 1, log=True),), search=SEARCH),
            "log needs low above 0",
        ),
        (
            policies(
                axes=(sweeps.Integers("N", 1, 8, log=True, step=2),), search=SEARCH
            ),
            "step does not go with log",
        ),
        (
            sweep(stage("a", bindings={"START": "$b"}), stage("b")),
            "stage a: \\$b is the run of a stage that is not done before this one",
        ),
        (
            sweep(stage("reference"), stage("b", bindings={"START": "$refrence"})),
            "\\$refrence is neither .* did you mean \\$reference\\?",
        ),
        (
            sweep(stage("a"), stage("b", gin_files=("$a/config.gin",))),
            "\\$a among its gin files is no axis of files",
        ),
        (policies(axes=(TAU,)), "Sweep.compared = 'objective' is no axis"),
        (
            sweep(stage(evaluated=False), evaluation=sweeps.Evaluation()),
            "has evaluated = False",
        ),
        (
            sweep(stage(), evaluation=sweeps.Evaluation(bindings={"X": "$judge"})),
            "Sweep.evaluation: \\$judge is neither",
        ),
        (
            sweep(stage(), evaluation=sweeps.Evaluation(num_prompts=0)),
            "Evaluation.num_prompts = 0: give a whole number",
        ),
        (
            sweep(stage(), evaluation=sweeps.Evaluation(temperature="hot")),
            "Evaluation.temperature = 'hot': give a number from 0",
        ),
        (
            sweep(
                stage("reference"),
                stage("scorer", evaluated=False),
                stage(),
                evaluation=sweeps.Evaluation(bindings={"X": "$scorer"}),
            ),
            "\\$scorer is not done yet when the runs of the stage reference are eval",
        ),
        (
            sweep(
                stage("scorer"),
                stage(),
                evaluation=sweeps.Evaluation(bindings={"X": "$scorer"}),
            ),
            "set evaluated = False for scorer",
        ),
        (policies(bindings={"MODEL_DIR": "/a"}), "policies sets MODEL_DIR, and each"),
        (
            policies(axes=(sweeps.Files("objective", {"a": "MODEL_DIR = '/a'"}),)),
            "policies sets MODEL_DIR, and each",
        ),
        (
            sweeps.Sweep([stage(axes=(OBJECTIVES,))], conditions=["noise"]),
            "Sweep.conditions names 'noise', which is no axis of the last stage",
        ),
        (
            sweeps.Sweep([stage(axes=(OBJECTIVES,))], conditions="objective"),
            "Sweep.conditions = 'objective': give a list",
        ),
        (sweep(stage(), budget_tokens=1e6), "budget_tokens = 1000000.0"),
    ],
)
def test_what_is_wrong_is_said(found, sentence):
    with pytest.raises(ConfigError, match=sentence):
        check_sweep(found)
