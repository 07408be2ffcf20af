"""Files that hold no records that are read here, named for what they are."""

import re

from dro_jax.data.open_files import OpenFile
from dro_jax.errors import DataError

_AS_RECORDS = "save its records as JSONL, CSV or Parquet"
# The first bytes, what such a file is, what to do.
_MAGICS = (
    (b"SQLite format 3\0", "an SQLite database", "export the table as CSV"),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an old Excel or Word file",
        "save it as CSV",
    ),
    (b"%PDF", "a PDF document", _AS_RECORDS),
    (b"\x93NUMPY", "a NumPy array", _AS_RECORDS),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", _AS_RECORDS),
    (b"FEA1", "a Feather file of version 1", "write it by version 2, or as Parquet"),
    (b"PARE", "an encrypted Parquet file", "write it without encryption"),
    (b"ORC", "an ORC file", _AS_RECORDS),
    (b"Obj\x01", "an Avro file", _AS_RECORDS),
    (b"SEQ\x06", "a Hadoop sequence file", _AS_RECORDS),
    (b"7z\xbc\xaf'\x1c", "a 7z archive", "unpack it"),
    (b"Rar!\x1a\x07", "a RAR archive", "unpack it"),
    (b"\x89PNG", "a picture", "check the path"),
    (b"\xff\xd8\xff", "a picture", "check the path"),
    (b"\x7fELF", "a program", "check the path"),
    (
        b"version https://git-lfs",
        "a pointer of Git LFS in place of the file",
        "fetch the file by 'git lfs pull'",
    ),
)
_ZIP = b"PK\x03\x04"
_INSIDE_ZIP = (
    (b"xl/", "an Excel workbook", "save the sheet as CSV"),
    (b"word/", "a Word document", _AS_RECORDS),
    (b"mimetypeapplication/vnd.oasis", "an OpenDocument file", "save it as CSV"),
    (b"/data.pkl", "a PyTorch file", _AS_RECORDS),
    (b".npy", "a NumPy archive", _AS_RECORDS),
)
_PICKLE = re.compile(rb"\x80[\x02-\x05][\x95}\](cK-NX\x8c\x94]")
_SENTENCEPIECE = re.compile(rb"\n.\n.<(unk|pad|s)>", re.DOTALL)
_HTML = re.compile(
    rb"(<!--.*?-->|\s)*<(!doctype html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)
_MOST_PRINTED = 40


def check_not_foreign(file: OpenFile) -> None:
    """Refuses a binary file of another kind.

    Raises:
      DataError: it is one, which is named.
    """
    found = _kind(file.head)
    if found is not None:
        name, remedy = found
        raise DataError(
            f"{file.path} is {name}, which is not read here as records: {remedy}"
        )


def not_records(path: str, text: bytes) -> DataError:
    """The error for a text that is neither JSON objects nor a table."""
    if _HTML.match(text[:2000]):
        return DataError(
            f"{path} is a web page (HTML), not a file of records: it may be the page "
            "about the file, or of an error; download the file itself"
        )
    if text.startswith(b"<"):
        return DataError(f"{path} is XML, which is not read here: {_AS_RECORDS}")
    if b"\0" in text[:1000]:
        return DataError(
            f"{path} is a binary file of an unknown kind: {_AS_RECORDS} (each plain or "
            "compressed by gzip, xz, bzip2 or zstd)"
        )
    begin = text[:_MOST_PRINTED].decode("utf-8", "replace")
    return DataError(
        f"{path} is text without records: it begins {begin!r}. Write one JSON object a "
        'line, as {"prompt": "…", "response": "…", "reward": 1.0}, or a table whose '
        "first row names its columns"
    )


def _kind(head: bytes) -> tuple[str, str] | None:
    for magic, name, remedy in _MAGICS:
        if head.startswith(magic):
            return name, remedy
    if head.startswith(_ZIP):
        for inside, name, remedy in _INSIDE_ZIP:
            if inside in head:
                return name, remedy
        return "a ZIP archive", "unpack it"
    if head[257:262] == b"ustar":
        return "a tar archive", "unpack it"
    if _PICKLE.match(head):
        return "a pickle", f"one can run any code when it is read, so {_AS_RECORDS}"
    if _SENTENCEPIECE.match(head):
        return (
            "a SentencePiece model",
            "give it as the vocabulary, and the file of records here",
        )
    if head[4:8] == b"\0\0\0\0" and head[:4] != b"\0\0\0\0":
        return (
            "a file of TFRecords, it seems",
            "register it by TfdsSource or a seqio.TFExampleDataSource",
        )
    return None
