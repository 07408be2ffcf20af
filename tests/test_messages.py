import pytest

from dro_jax import messages
from dro_jax.progress_bar import ProgressBar


@pytest.fixture(params=[(0, 1), (0, 2), (1, 2)], ids=["alone", "first", "second"])
def process(request):
    messages.set_process(*request.param)
    yield request.param
    messages.set_process(0, 1)


def test_the_first_process_speaks_for_all_and_each_warns_for_itself(process, capsys):
    index, count = process
    with messages.results_once():
        print("a result")
    messages.say("a line")
    messages.note("a thing to know")
    with ProgressBar("train", 2) as bar:
        bar.advance()
        bar.say("loss 1.0")
    assert messages.is_first() == (index == 0)
    shown = capsys.readouterr()
    lines = ["a line", "note: a thing to know", "train 1/2 steps"]
    assert shown.out == ("" if index else "a result\n")
    found = [line.split("  ")[0] for line in shown.err.splitlines()]
    assert found == ([] if index else lines)
    messages.warn("the disk is full")
    name = f"process {index}: " if count > 1 else ""
    assert capsys.readouterr().err == f"{name}the disk is full\n"
