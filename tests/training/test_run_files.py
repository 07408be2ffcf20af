"""The table of what a run writes, against its writers and its documentation."""

import pathlib

import pytest
from training_runs import HELD_OUT, run

from dro_jax.objectives import ALoL
from dro_jax.training.run_files import OWNER, REWARD_MODEL, RUN_FILES, is_made_by_a_run
from dro_jax.training.run_owner import owned

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "safety.md"


def test_a_run_leaves_nothing_that_the_table_lacks(tmp_path, reference_dir):
    """The objective that writes most: a cache, a value fit, evaluations, TensorBoard."""
    run(
        tmp_path,
        ALoL(),
        steps=2,
        initial_checkpoint_path=str(reference_dir),
        train_eval_dataset_cfg=HELD_OUT,
        tensorboard=True,
    )
    left = {path.name: path.is_dir() for path in tmp_path.iterdir()}
    assert [n for n, d in left.items() if not is_made_by_a_run(n, folder=d)] == []
    # All but the settings, which the command line keeps, what a reward model leaves, what
    # is sampled, what goes wrong, what a sweep and `dro-jax evaluate` find, and the owner.
    unseen = [
        made.name
        for made in RUN_FILES
        if not any(made.matches(n) and made.folder == d for n, d in left.items())
    ]
    assert unseen == [
        "config.gin",
        "config_until_step_N.gin",
        "pruned.json",
        "samples.jsonl",
        "sampled_reference",
        "fresh_samples",
        "moved_reference",
        "reference_samples",
        REWARD_MODEL,
        "non_finite_step_N.json",
        "evaluations",
        OWNER,
    ]


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("metrics", False),
        ("metrics.jsonl.bak", False),
        ("checkpoint_best", True),
        ("checkpoint_7", False),
        ("my_checkpoint_7", True),
        ("value_of_reference", False),
        ("owner.json.old", False),
        ("x.partial", False),
    ],
)
def test_what_a_person_keeps_is_no_part_of_a_run(name, folder):
    assert not is_made_by_a_run(name, folder=folder)


@pytest.mark.parametrize(
    "name",
    [
        "metrics.partial",
        "config.gin.partial",
        f"value_of_reference.json.{'0a' * 16}.partial",
        f"owner.json.{'0a' * 16}.partial",
        f"owner.json.{'0a' * 16}.partial.{'1b' * 16}.partial",
    ],
)
def test_a_file_that_a_kill_left_half_written_is(name):
    assert is_made_by_a_run(name, folder=False)


def test_the_documentation_has_the_table():
    rows = [
        f"| `{made.name}{'/' if made.folder else ''}` | {made.holds} |"
        for made in RUN_FILES
    ]
    assert "\n".join(rows) in DOCS.read_text("utf-8")


def test_the_owner_is_in_the_table(tmp_path):
    with owned(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [OWNER]
