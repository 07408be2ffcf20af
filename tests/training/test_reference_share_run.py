"""Shares of the reference's log-probabilities, computed by machines apart."""

import json
import shutil

import pytest
from training_runs import HELD_OUT, run

from dro_jax.errors import ConfigError
from dro_jax.objectives import DROP, KTO, NLL


def test_shares_of_machines_apart_make_the_whole(tmp_path, reference_dir, capsys):
    settings = {
        "initial_checkpoint_path": str(reference_dir),
        "train_eval_dataset_cfg": HELD_OUT,
        "steps": 1,
    }
    together = tmp_path / "together"
    for number in (1, 2):
        machine = tmp_path / f"machine{number}"
        state = run(
            tmp_path / "model",
            DROP(),
            reference_share=f"{number}/2",
            reference_cache_dir=str(machine),
            **settings,
        )
        assert state is None
        shutil.copytree(machine, together, dirs_exist_ok=True)
    assert "the share 2/2 of the reference's log-probs is there" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "model").exists()
    run(tmp_path / "model", DROP(), reference_cache_dir=str(together), **settings)
    facts = json.loads((tmp_path / "model" / "reference_cache.json").read_text())
    assert {name: fact["forward_passes"] for name, fact in facts.items()} == {
        "copying-train": 0,
        "copying-validation": 0,
    }


@pytest.mark.parametrize(
    ("objective", "settings", "message"),
    [
        (NLL(), {"reference_cache_dir": "/c"}, "NLL has no reference"),
        (KTO(), {"reference_cache_dir": "/c"}, "KTO keeps a frozen copy"),
        (DROP(), {}, "set REFERENCE_CACHE_DIR"),
        (DROP(), {"reference_share": "4/3"}, "shares are 1/3 to 3/3"),
    ],
)
def test_what_has_no_share_is_refused(
    tmp_path, reference_dir, objective, settings, message
):
    with pytest.raises(ConfigError, match=message):
        run(
            tmp_path,
            objective,
            initial_checkpoint_path=str(reference_dir),
            **{"reference_share": "1/3"} | settings,
        )
