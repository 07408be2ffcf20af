"""What several training tests start from."""

import pytest
from training_runs import HELD_OUT, run


@pytest.fixture(scope="session")
def reference_dir(tmp_path_factory):
    """A model folder of a run by NLL."""
    folder = tmp_path_factory.mktemp("reference")
    run(folder, steps=60, train_eval_dataset_cfg=HELD_OUT)
    return folder
