from dro_jax.sweeps.folders import run_folder


def test_a_folder_is_named_by_number_and_by_what_of_a_label_is_safe():
    assert (
        run_folder("policies", 7, "DRO-V · TAU 0.1 · seed 0")
        == "policies/0007_DRO-V_TAU_0.1_seed_0"
    )
    assert run_folder("a", 12345, "../x/$y") == "a/12345_x_y"
    assert run_folder("reference", 0, "…") == "reference/0000"
    assert len(run_folder("s", 1, "x" * 300)) == len("s/0001_") + 80
