"""The page of a sheet, in a real Chromium."""

import json

import chromium
import pytest
from sheets_to_judge import key

from dro_jax.judges.sheet_answers import read_sheets
from dro_jax.judges.sheets import page

ANSWERED = "document.getElementById('progress').value"
PLACE = "document.getElementById('status').textContent"


@pytest.fixture
def sheet(tmp_path):
    own = key()
    path = tmp_path / "sheet.html"
    path.write_text(page(own), encoding="utf-8")
    return own, path


def shown(view):
    texts = [
        view.value(f"document.getElementById('{name}').textContent")
        for name in ("prompt", "first", "second")
    ]
    return tuple(texts)


def test_a_sheet_is_filled_by_keys_kept_saved_and_read_back(sheet, tmp_path):
    own, path = sheet
    profile = tmp_path / "profile"
    chosen = [1, 2, 0, 1, 2, 0, 1, 2]
    keys = ["1", "ArrowRight", "0", "ArrowLeft", "2", "0", "1", "2"]
    with chromium.opened(path, profile=profile) as view:
        for pair, press in zip(own.shown[:5], keys[:5], strict=True):
            # What it shows is the text, letter for letter; no tag of it is one.
            assert shown(view) == tuple(pair.as_shown)
            view.press(press)
        assert view.value("document.querySelectorAll('img, main script').length") == 0
        # Typing a name answers nothing.
        view.value("document.getElementById('rater').focus()")
        for letter in "A1 n":
            view.press(letter)
        view.value("document.getElementById('rater').blur()")
        assert view.value(ANSWERED) == 5
        # Back, and another answer in the place of the first.
        view.press("p")
        view.press("p")
        assert view.value(PLACE).startswith("Pair 4 of 8; 5 answered")
        assert view.value("document.querySelector('[aria-pressed=true]').id") == (
            "answer-1"
        )
    with chromium.opened(path, profile=profile) as again:
        assert again.value(PLACE).startswith("Pair 6 of 8; 5 answered")
        for press in keys[5:]:
            again.press(press)
        assert "All are answered" in again.value(PLACE)
        assert again.value("document.activeElement.id") == "save"
        again.press("Enter")
        ((name, saved),) = again.downloaded().items()
    assert view.errors == again.errors == []
    assert view.requests == again.requests == []
    assert name == f"A1_n_{own.sheet}.json"
    file = tmp_path / name
    file.write_bytes(saved)
    found = read_sheets([file], own)
    assert found.problems == ()
    assert found.answers == {
        "A1 n": {p.id: x for p, x in zip(own.shown, chosen, strict=True)}
    }


def test_a_saved_file_is_gone_on_with_and_anothers_refused(sheet, tmp_path):
    own, path = sheet
    first = own.shown[0].id
    saved = {
        "kind": "dro-jax judge answers",
        "sheet": own.sheet,
        "rater": "Ann",
        "answers": {first: 2, "unknown": 1, own.shown[1].id: 7},
    }
    files = {}
    for name, content in {
        "ours": json.dumps(saved),
        "other": json.dumps(saved | {"sheet": "another"}),
        "torn": '{"kind"',
    }.items():
        files[name] = tmp_path / f"{name}.json"
        files[name].write_text(content)
    with chromium.opened(path) as view:
        for name in ("other", "torn"):
            view.choose_file("#load", files[name])
            view.wait(f"{PLACE}.startsWith('That file holds no answers')")
            assert view.value(ANSWERED) == 0
        view.choose_file("#load", files["ours"])
        view.wait(f"{PLACE}.startsWith('Loaded. Pair 2 of 8; 1 answered')")
        assert view.value("document.getElementById('rater').value") == "Ann"
    assert view.errors == [] and view.requests == []


def test_it_is_read_on_a_phone_in_the_dark_and_aloud(sheet):
    _, path = sheet
    contrast = """(() => {
      const light = (name) => {
        const [r, g, b] = getComputedStyle(document.querySelector(name[0]))[name[1]]
          .match(/[\\d.]+/g).map((x) => x / 255)
          .map((x) => (x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const pairs = [["p", "body"], [".text", ".text"], ["button", "button"]];
      return pairs.map(([ink, back]) => {
        const both = [light([ink, "color"]), light([back, "backgroundColor"])].sort();
        return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
      });
    })()"""
    with chromium.opened(path, phone=True, dark=True) as view:
        assert view.value("document.documentElement.scrollWidth <= innerWidth")
        tops = view.value(
            "['first', 'second'].map(x => document.getElementById(x)"
            ".getBoundingClientRect().left)"
        )
        assert tops[0] == tops[1]  # one below the other
        dark = view.value("getComputedStyle(document.body).backgroundColor")
        assert min(view.value(contrast)) > 4.5
        # Targets of a thumb.
        assert view.value(
            "[...document.querySelectorAll('button')]"
            ".every(x => x.getBoundingClientRect().height >= 44)"
        )
        view.set_dark(False)
        assert view.value("getComputedStyle(document.body).backgroundColor") != dark
        assert min(view.value(contrast)) > 4.5
        names = view.accessible()
    roles = {}
    for role, name in names:
        roles.setdefault(role, []).append(name)
    assert roles["heading"][:4] == [
        "Which response is better?",
        "Prompt",
        "Response 1",
        "Response 2",
    ]
    assert "1: the first is better" in roles["button"]
    assert roles["group"] == ["Which response is better?"]
    assert "Your name or initials" in roles["textbox"]
    assert roles["status"] and all(roles["button"])
    assert "Pairs" in roles["navigation"]
    assert view.errors == [] and view.requests == []


def test_a_script_in_the_page_that_is_not_its_own_does_not_run(sheet, tmp_path):
    _, path = sheet
    text = path.read_text("utf-8")
    path.write_text(
        text.replace("</main>", "</main><script>document.title = 'broken'</script>")
    )
    with chromium.opened(path) as view:
        assert view.value("document.title") == "Which response is better?"
    assert "Content Security Policy" in str(view.errors)
