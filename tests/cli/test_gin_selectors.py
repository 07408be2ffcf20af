"""Names that are nowhere: the flag, or file and line, and the near name."""

import pytest

from dro_jax.cli import gin_setup
from dro_jax.errors import ConfigError

FILES = [
    f"gin_configs/{path}.gin"
    for path in ("models/tiny", "objectives/dro_v", "tasks/jsonl", "runs/train")
]
HEAD = "from __gin__ import dynamic_registration\n"


def refusal(*bindings, files=FILES):
    needed = ["TRAIN_PATH = 'logs.jsonl'", "MODEL_DIR = 'run'", "TRAIN_STEPS = 2"]
    with pytest.raises(ConfigError) as caught:
        gin_setup.check(files, [*needed, *bindings])
    return str(caught.value)


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("T5Config.emb_dim = 16", ("--gin.T5Config.emb_dim=16: T5Config is no module that "
         "the gin files import; did you mean t5_config.T5Config.emb_dim?")),
        ("DatasetConfig.batch_size = 2", "did you mean dataset.DatasetConfig.batch_size?"),
        ("trian.train.log_period = 4", "did you mean train.train.log_period?"),
        ("t5_config.T5Confg.emb_dim = 1", "did you mean t5_config.T5Config.emb_dim?"),
        ("t5_config.T5Config.embdim = 1", ("no parameter named 'embdim'; did you mean "
         "t5_config.T5Config.emb_dim?")),
        ("t5_config.emb_dim = 1", "did you mean t5_config.T5Config.emb_dim?"),
        ("t5_config.T5Config = 1", "--gin.t5_config.T5Config.SETTING=VALUE"),
        ("objectives.DRO_V.tau = 1", "has no attribute DRO_V; did you mean objectives."),
        ("OPTIMIZER = @optimizers.adamW()", "did you mean optimizers.adamw?"),
        ("OPTIMIZER = @nope()", "nope is no module that the gin files import"),
        ("BATCHSIZE = 4", "did you mean BATCH_SIZE?"),
    ],
)  # fmt: skip
def test_an_unknown_name_is_one_message_with_the_near_one(binding, message):
    assert message in (shown := refusal(binding))
    assert "\n" not in shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("from dro_jax.training import optimizer\n", ("line 1: from dro_jax.training import "
         "optimizer: there is no module dro_jax.training.optimizer; did you mean "
         "dro_jax.training.optimizers?")),
        (HEAD + "t5.T5Config.emb_dim = 3\n", ("line 2: t5.T5Config.emb_dim = 3: t5 is no "
         "module that the gin files import")),
        (HEAD + "from dro_jax.models import t5_config\nt5_config.T5Config:\n  embdim = 3\n",
         "line 4: embdim = 3: t5_config.T5Config has no parameter named 'embdim'"),
        (HEAD + "from dro_jax.models import t5_config\nt5_config.T5Confg:\n  embdim = 3\n",
         "line 3: t5_config.T5Confg:: dro_jax.models.t5_config has no attribute T5Confg"),
    ],
)  # fmt: skip
def test_files_are_named_with_their_lines(text, message, tmp_path):
    path = tmp_path / "own.gin"
    path.write_text(text)
    assert f"{path} {message}" in refusal(files=[*FILES, str(path)])
