import pathlib

from dro_jax.cli import settings_command
from dro_jax.cli.main import main


def test_the_page_in_the_docs_is_current():
    page = pathlib.Path("docs/settings.md").read_text("utf-8")
    assert page == settings_command.page(), (
        "the gin files changed: run `dro-jax settings > docs/settings.md`"
    )


def test_every_setting_has_a_meaning(capsys):
    found = [
        setting
        for pattern in settings_command._FILES
        for setting in settings_command.settings(pattern)
    ]
    assert [setting for setting in found if not setting.meaning] == []
    names = {setting.name for setting in found}
    assert {"MODEL_DIR", "DTYPE", "REMAT_POLICY", "TRAIN_PATH", "GROUP_SIZE"} <= names
    defaults = {s.name: s.default for s in settings_command.settings("runs/train.gin")}
    assert defaults["BATCH_SIZE"] == "`32`"
    assert defaults["TRAIN_STEPS"] == "required"
    assert main(["settings"]) == 0
    assert capsys.readouterr().out == settings_command.page()
