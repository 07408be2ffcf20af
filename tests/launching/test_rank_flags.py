import pytest

from dro_jax.errors import ConfigError
from dro_jax.launching.interface import Job
from dro_jax.launching.rank_flags import rank_flags


def test_ours():
    job = Job("a", ("dro-jax", "train"))
    assert rank_flags(job, "host:1", 4, "$SLURM_PROCID") == [
        "--coordinator=host:1",
        "--num_processes=4",
        "--process_id=$SLURM_PROCID",
    ]


def test_t5x():
    job = Job("a", ("python", "-m", "t5x.train"))
    assert rank_flags(job, "host:1", 4, 3) == [
        "--multiprocess_gpu",
        "--coordinator_address=host:1",
        "--process_count=4",
        "--process_index=3",
    ]
    with pytest.raises(ConfigError, match="t5x.eval of T5X takes no coordinator"):
        rank_flags(Job("a", ("python", "-m", "t5x.eval")), "host:1", 4, 3)
