"""The folder of a run with its configuration, for tests of what may be done there."""

import gin

from dro_jax.cli import gin_setup

FILES = [
    f"gin_configs/{path}.gin"
    for path in ("models/tiny", "objectives/dro_v", "tasks/support_desk", "runs/train")
]
SETTINGS = {
    "MODEL_DIR": "'/tmp/model'",
    "INITIAL_CHECKPOINT_PATH": "'/tmp/start'",
    "TRAIN_STEPS": 100,
}


def configuration(files=FILES, **settings):
    bindings = [f"{name} = {value}" for name, value in (SETTINGS | settings).items()]
    gin_setup.parse(files, bindings)
    return gin.config_str()


def written(folder, text, *, metrics='{"step": 1}\n', checkpoint=True):
    folder.mkdir(exist_ok=True)
    (folder / "config.gin").write_text(text)
    if metrics is not None:
        (folder / "metrics.jsonl").write_text(metrics)
    if checkpoint:
        (folder / "checkpoint_100").mkdir()
    return folder
