"""Tasks over files that others publish: what they have in common."""

from pathlib import Path

import pytest

from dro_jax.data.tasks import feedback_task
from dro_jax.tasks import (
    commonsense,
    dialogue,
    helpsteer2,
    hha_published,
    oasst2,
    reddit,
    ultrafeedback,
)

MODULES = (
    commonsense,
    dialogue,
    helpsteer2,
    hha_published,
    oasst2,
    reddit,
    ultrafeedback,
)
CONFIGS = Path(__file__).parents[2] / "gin_configs" / "tasks"


@pytest.mark.parametrize("module", MODULES, ids=lambda its: its.__name__)
def test_what_nobody_can_correct_is_left_out(module):
    found = {feedback_task(name).recipe.on_bad_record for name in module.TASKS}
    assert found == {"drop"}
    name = module.__name__.rpartition(".")[2]
    text = (CONFIGS / f"{name}.gin").read_text("utf-8")
    assert "\nON_BAD_RECORD = 'drop'" in text
    assert "  on_bad_record = %ON_BAD_RECORD\n" in text
