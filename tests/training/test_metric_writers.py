import json

from dro_jax.training.metric_writers import MetricWriter, read_metrics


def write(folder, steps, start_step=0, tensorboard=False):
    writer = MetricWriter(folder, start_step=start_step, tensorboard=tensorboard)
    for step in steps:
        writer.write(step, {"loss": step / 2})
    writer.close()


def test_one_json_line_a_step(tmp_path):
    write(tmp_path, [1, 2])
    assert read_metrics(tmp_path) == [
        {"step": 1, "loss": 0.5},
        {"step": 2, "loss": 1.0},
    ]


def test_a_resumed_run_reads_as_an_uninterrupted_one(tmp_path):
    write(tmp_path, [1, 2, 3])
    write(tmp_path, [3, 4], start_step=2)
    assert [record["step"] for record in read_metrics(tmp_path)] == [1, 2, 3, 4]


def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path):
    write(tmp_path, [1, 2])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    write(tmp_path, [3], start_step=2)
    assert [record["step"] for record in read_metrics(tmp_path)] == [1, 2, 3]


def test_what_is_not_finite_is_null_in_json(tmp_path, caplog):
    writer = MetricWriter(tmp_path, start_step=0, tensorboard=True)
    writer.write(1, {"a": float("nan"), "b": float("inf"), "c": 1.0})
    writer.close()
    assert not caplog.records  # of tensorboardX
    line = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(line) == {"step": 1, "a": None, "b": None, "c": 1.0}


def test_tensorboard_files_are_written(tmp_path):
    write(tmp_path, [1], tensorboard=True)
    events = list((tmp_path / "tensorboard").iterdir())
    assert len(events) == 1
    assert events[0].stat().st_size > 0
