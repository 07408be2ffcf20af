import csv
import gzip
import json
import shutil

import pytest

from dro_jax.cli.main import main
from dro_jax.evaluation.evaluated_run import Estimate, EvaluatedRun, SampledResponse
from dro_jax.judges.blinding import Key
from dro_jax.judges.question import SHIPPED

PROMPTS = 6


def evaluate(run, name, word, samples=2):
    """An evaluated run, whose responses are words and a number."""
    responses = [
        SampledResponse(
            f"{n:016x}",
            k,
            f"prompt {n}",
            f"{word} {n if k == 0 else k}",
            3,
            False,
            -1.0,
        )
        for n in range(PROMPTS)
        for k in range(samples)
    ]
    evaluated = EvaluatedRun(
        run.name, {"task": "t"}, tuple(responses), {"reward": Estimate(1.0)}
    )
    evaluated.write(run / "evaluations" / name)


def generate(path, word, order=range(PROMPTS)):
    """What `dro-jax generate` writes; one prompt comes twice."""
    lines = [
        {"text": f"prompt {n % 5}", "responses": [{"response": f"{word} {n}"}]}
        for n in order
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


@pytest.fixture
def runs(tmp_path):
    folders = [tmp_path / name for name in ("good", "bad", "worse")]
    for folder in folders:
        evaluate(folder, "t_test_old", "ancient")
        evaluate(folder, "t_test_new", folder.name)
    evaluate(folders[0], "t_test_alone", "alone")
    return [str(folder) for folder in folders]


def answer(folder, path, choose):
    """Fills the table of a folder: `choose` says which of two texts is better."""
    with (folder / "sheet.csv").open(encoding="utf-8-sig", newline="") as file:
        head, *rows = csv.reader(file)
    filled = [[*row[:4], choose(row[2], row[3])] for row in rows]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *filled])
    return str(path)


def by_word(*order):
    def choose(first, second):
        places = [order.index(text.split()[0]) for text in (first, second)]
        return "1" if places[0] < places[1] else "2"

    return choose


def test_from_runs_to_win_rates(runs, tmp_path, capsys):
    folder = tmp_path / "sheets"
    assert main(["judge", "sheet", *runs, "--output", str(folder), "--prompts=4"]) == 0
    assert "12 pairs" in capsys.readouterr().out
    key = Key.read(folder / "key.json")
    assert len({pair.contest.prompt_id for pair in key.shown}) == 4
    assert "ancient" not in (folder / "sheet.html").read_text()
    ann = answer(folder, tmp_path / "ann.csv", by_word("good", "bad", "worse"))
    bob = answer(folder, tmp_path / "bob.csv", by_word("good", "worse", "bad"))
    output = tmp_path / "people.json"
    assert (
        main(
            [
                "judge",
                "read",
                ann,
                bob,
                f"--key={folder}/key.json",
                f"--output={output}",
            ]
        )
        == 0
    )
    said = capsys.readouterr()
    assert "good against bad: win rate 100.0%" in said.out
    assert "bad against worse: win rate 50.0%" in said.out
    assert "Cohen's kappa" in said.out and said.err == ""
    found = json.loads(output.read_text())
    rates = {(x["first"], x["second"]): x for x in found["win_rates"]}
    assert rates["good", "worse"]["wins"] == 4
    assert rates["good", "worse"]["win_rate"]["value"] == 1.0
    assert rates["bad", "worse"]["ties"] == 4
    assert found["answered"] == {"ann": 12, "bob": 12}
    assert found["kappa"] < 1 and found["problems"] == []


def test_a_reference_may_lie_within_a_runs_evaluation(runs, tmp_path, capsys):
    inner = tmp_path / "good/evaluations/t_test_new/reference"
    evaluate(tmp_path / "start", "x", "start")
    shutil.copytree(tmp_path / "start/evaluations/x", inner)
    words = [str(inner), *runs[:2], f"--output={tmp_path}/sheets"]
    assert main(["judge", "sheet", *words]) == 0
    pairs = Key.read(tmp_path / "sheets/key.json").shown
    assert {pair.contest[:2] for pair in pairs} == {
        ("start", "good"),
        ("start", "bad"),
        ("good", "bad"),
    }


def test_from_files_of_generate(tmp_path, capsys):
    files = [
        generate(tmp_path / "good.jsonl", "good"),
        generate(tmp_path / "bad.jsonl", "bad", (5, 4, 3, 2, 0, 1)),
    ]
    # As `--output bad.jsonl.gz` writes it.
    files[1] = f"{files[1]}.gz"
    with open(tmp_path / "bad.jsonl", "rb") as plain, gzip.open(files[1], "wb") as file:
        file.write(plain.read())
    folder = tmp_path / "sheets"
    command = ["judge", "sheet", *files, "--output", str(folder)]
    assert main(command) == 2
    assert "has no field 'prompt' (it has text, responses)" in capsys.readouterr().err
    command += ["--prompt_field=text"]
    assert main(command) == 0
    pairs = [p.contest.pair for p in Key.read(folder / "key.json").shown]
    assert len(pairs) == PROMPTS
    # Records are matched by their prompts: of the two of one prompt, by their order.
    matched = sorted((p.first.split()[1], p.second.split()[1]) for p in pairs)
    assert matched == [
        ("0", "5"), ("1", "1"), ("2", "2"), ("3", "3"), ("4", "4"), ("5", "0"),
    ]  # fmt: skip
    # The same again is the same; another sheet does not take its key's place.
    before = (folder / "sheet.html").read_bytes()
    assert main(command) == 0
    assert (folder / "sheet.html").read_bytes() == before
    capsys.readouterr()
    assert main([*command, "--seed=1"]) == 2
    assert "the key of another sheet" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, message",
    [
        (["sheet", "{0}", "--output=x"], "two runs or more"),
        (["sheet", "{0}", "{1}", "--output=x", "--prompts=0"], "--prompts 0"),
        (["sheet", "{0}", "/nowhere", "--output=x"], "no file or folder /nowhere"),
        (["sheet", "{0}", "{0}", "--output=x"], "given twice"),
        (["sheet", "{0}", "{file}", "--output=x"], "not both"),
        (
            ["sheet", "{0}", "{1}", "--output=x", "--evaluation=t_test_alone"],
            "no evaluation called t_test_alone",
        ),
        (["sheet", "{file}", "{file}", "--output=x", "--evaluation=y"], "remove it"),
        (["sheet", "{0}", "{1}", "--output={file}"], "cannot be written"),
        (["sheet", "{file}", "{torn}", "--output=x", "--prompt_field=text"], "line 2"),
        (
            ["sheet", "{file}", "{bare}", "--output=x", "--prompt_field=text"],
            "no response",
        ),
        (["read", "{file}", "--key=/nowhere"], "no key of a sheet"),
    ],
)
def test_what_cannot_be_is_refused(words, message, runs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = generate(tmp_path / "a.jsonl", "a")
    torn, bare = tmp_path / "torn.jsonl", tmp_path / "bare.jsonl"
    torn.write_text('{"text": "p", "responses": [{"response": "r"}]}\n{"text": "p", \n')
    bare.write_text('{"text": "p", "responses": []}\n')
    places = {"file": file, "torn": torn, "bare": bare}
    assert main(["judge", *(word.format(*runs, **places) for word in words)]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_equal_responses_alone_are_nothing_to_compare(tmp_path, capsys):
    for name in "ab":
        generate(tmp_path / f"{name}.jsonl", "same")
    files = [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]
    words = ["judge", "sheet", *files, f"--output={tmp_path}/x", "--prompt_field=text"]
    assert main(words) == 2
    assert "nothing to compare" in capsys.readouterr().err


def test_a_sheet_without_answers_is_refused(runs, tmp_path, capsys):
    folder = tmp_path / "sheets"
    main(["judge", "sheet", *runs[:2], "--output", str(folder)])
    words = [str(folder / "sheet.csv"), f"--key={folder}/key.json"]
    assert main(["judge", "read", *words]) == 2
    said = capsys.readouterr().err
    assert "6 with no answer" in said and "no sheet holds an answer" in said


def test_the_question_is_printed(tmp_path, capsys):
    assert main(["judge", "template"]) == 0
    assert capsys.readouterr().out == SHIPPED.read_text()
    assert main(["judge", "template", f"--output={tmp_path}/mine.txt"]) == 0
    assert (tmp_path / "mine.txt").read_bytes() == SHIPPED.read_bytes()
