"""Which of this package's files the key of a store knows."""

import pathlib

from import_graph import imports_of, reached

from dro_jax.data.store.code_digest import AFTER_RECORDS, code_of

DATA = "dro_jax.data."


def test_all_that_makes_records_is_in_the_key():
    # Prepared records follow from what reads, checks and tokenises them.
    found = reached(imports_of("dro_jax"))
    roots = ("record_source", "sources", "layouts", "record_format", "vocabularies")
    used = {DATA + root for root in roots}
    used |= {name for root in roots for name in found[DATA + root]}
    names = {name.removeprefix(DATA) for name in used if name.startswith(DATA)}
    assert {"json_records", "chat_template", "whitespace", "layouts.pairs"} <= names
    assert names & AFTER_RECORDS == set()


def test_what_is_left_out_is_there():
    import dro_jax.data

    folder = pathlib.Path(dro_jax.data.__file__).parent
    assert {path.stem for path in folder.glob("*.py")} >= AFTER_RECORDS


def test_two_functions_of_one_line_are_told_apart():
    # fmt: off
    many, few = (lambda fields: fields["votes"] > 1), (lambda fields: fields["votes"] < 1)
    # fmt: on
    assert code_of(many) == code_of(many)
    assert code_of(many) != code_of(few)
