import pytest

from dro_jax.errors import ConfigError
from dro_jax.launching.interface import Job
from dro_jax.launching.places import check_in_mounts, check_not_of_one_machine


def job(*paths, gin_files=()):
    return Job("a", ("dro-jax", "train"), model_dir=paths[0], local_paths=paths,
               gin_files=dict.fromkeys(gin_files, ""))  # fmt: skip


def test_what_lies_in_a_mount_is_seen():
    check_in_mounts(
        job("/bucket/run", "/bucket", "/data/x", gin_files=["a.gin", "/data/b.gin"]),
        ("/bucket/", "/data"),
        "gke",
    )


@pytest.mark.parametrize(
    "wrong", [job("/home/run"), job("/bucket2/run"), job("/bucket/../run")]
)
def test_what_lies_elsewhere_is_not(wrong):
    with pytest.raises(ConfigError, match="MODEL_DIR names .* they share /bucket"):
        check_in_mounts(wrong, ("/bucket",), "gke")
    with pytest.raises(ConfigError, match="of gke do not see: they share none"):
        check_in_mounts(wrong, (), "gke")


def test_the_command_is_named_where_it_is_no_model_dir():
    with pytest.raises(ConfigError, match="the command names /home/data"):
        check_in_mounts(job("/bucket/run", "/home/data"), ("/bucket",), "gke")


@pytest.mark.parametrize(
    "name", ["/home/me/a.gin", "../a.gin", "~/a.gin", "b/../../a.gin"]
)
def test_gin_files_are_named_from_the_folder(name):
    with pytest.raises(ConfigError, match="go to the folder that holds it"):
        check_in_mounts(job("/bucket/run", gin_files=[name]), ("/bucket",), "gke")


@pytest.mark.parametrize("path", ["/tmp/run", "/dev/shm/run", "/var/tmp", "/run/x"])
def test_each_machine_has_its_own(path):
    with pytest.raises(
        ConfigError, match="MODEL_DIR names .* each machine has its own"
    ):
        check_not_of_one_machine(job(path), "slurm")


def test_a_link_is_followed(tmp_path):
    (tmp_path / "shared").symlink_to("/dev/shm")
    with pytest.raises(ConfigError, match="shared/run, of which each machine"):
        check_not_of_one_machine(job(str(tmp_path / "shared/run")), "slurm")


def test_shared_disks_are_let_through():
    check_not_of_one_machine(job("/home/me/run", "/tmpfiles/x"), "slurm")
