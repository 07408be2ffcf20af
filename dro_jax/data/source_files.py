"""Which files a source's paths stand for: files, folders of shards, globs, URLs."""

import fnmatch
import glob
import os
import re
from collections import defaultdict
from collections.abc import Iterable

from dro_jax import paths
from dro_jax.data import remote_files
from dro_jax.errors import DataError

# Beside shards lie marks of success, checksums and descriptions, which are no data.
_NO_DATA = (
    ".*", "_*", "*.crc", "*.md", "*.lock",
    "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json",
)  # fmt: skip
# The forms in which one file may lie beside itself, by the ends of its name.
_COMPRESSED = ("gz", "bz2", "xz", "zst")
_FORMATS = ("json", "jsonl", "ndjson", "csv", "tsv", "parquet", "arrow")
_SHARD = re.compile(r"-\d+-of-\d+$")
_SPLIT = re.compile(
    r"(train(?:ing)?|valid(?:ation)?|val|dev|test|eval)(?=[-_.])", re.IGNORECASE
)


def source_files(given: Iterable[str], advice: str) -> list[str]:
    """The files that paths stand for, in a fixed order.

    A folder is all its files in the order of their names, but for those that hold no
    data: names that begin with `.` or `_`, and what data sets lay beside their shards. A
    glob is what it matches, likewise; `**` goes into sub-folders.

    Args:
      given: files, folders, globs or URLs of these, expanded.
      advice: what to do when a file is missing.

    Raises:
      DataError: nothing is there, a folder holds files of several splits, or a file is
        there in two forms, whose records would be read twice.
    """
    return [file for path in given for file in _files_of(path, advice)]


def _check_forms(files: Iterable[str]) -> None:
    """Refuses a file beside itself: packed and not, or in two formats.

    Who names both says that both are meant; a folder or a pattern does not.
    """
    forms: dict[tuple[str, bool], dict[str, str]] = defaultdict(dict)
    for file in files:
        stem, form, packed = _form_of(file)
        # Of shards one may be packed and the next not: they are other records.
        forms[stem, True].setdefault(f"{form}.{packed}", file)
        forms[_SHARD.sub("", stem), False].setdefault(form, file)
    for found in forms.values():
        if len(found) > 1:
            first, second, *_ = found.values()
            raise DataError(
                f"{first} and {second} are by their names one file in two forms, and its "
                "records would be read twice: delete one, move it elsewhere, or give the "
                "name of the other"
            )


def _form_of(file: str) -> tuple[str, str, str]:
    """A path without the ends that say its form; format and compression, '' for none."""
    stem, ends = file, []
    for known in (_COMPRESSED, _FORMATS):
        head, dot, end = stem.rpartition(".")
        found = end.lower() if dot and end.lower() in known else ""
        stem = head if found else stem
        ends.append(found)
    packed, form = ends
    return stem, form, packed


def _files_of(path: str, advice: str) -> list[str]:
    remote = paths.is_url(path)
    if remote and not remote_files.can_list(path):
        return [path]  # http(s): a file, as it is
    is_folder = remote_files.is_folder if remote else os.path.isdir
    if not _is_pattern(path) or (not remote and os.path.lexists(path)):
        if not is_folder(path):
            return [path]
        return _folder(path, remote, advice)
    found = remote_files.matches(path) if remote else glob.glob(path, recursive=True)
    files = _data(file for file in found if not is_folder(file))
    if not files:
        raise DataError(f"no file matches {path}: {advice}")
    _check_forms(files)
    return files


def _folder(folder: str, remote: bool, advice: str) -> list[str]:
    if remote:
        inside = remote_files.matches(f"{folder.rstrip('/')}/*")
        sub_folders = [path for path in inside if remote_files.is_folder(path)]
    else:
        try:
            inside = [os.path.join(folder, name) for name in os.listdir(folder)]
        except OSError as error:
            raise DataError(
                f"the folder {folder} cannot be read ({paths.reason(error)}): check who "
                "may read it"
            ) from error
        sub_folders = [path for path in inside if os.path.isdir(path)]
    files = _data(path for path in inside if path not in set(sub_folders))
    if not files:
        raise DataError(_nothing_in(folder, sub_folders, advice))
    splits = sorted({_split_of(file) for file in files} - {None})
    if len(splits) > 1:
        raise DataError(
            f"the folder {folder} holds files of several splits, {' and '.join(splits)}, "
            "which would be read as one: give those of one split by a pattern, as "
            f"'{os.path.join(folder, splits[-1])}*'"
        )
    _check_forms(files)
    return files


def _nothing_in(folder: str, sub_folders: list[str], advice: str) -> str:
    if sub_folders:
        names = ", ".join(sorted(os.path.basename(path) for path in sub_folders)[:8])
        return (
            f"the folder {folder} holds no files of records, only sub-folders ({names}): "
            f"give one of these, or all by a pattern, as '{os.path.join(folder, '**')}'"
        )
    return (
        f"the folder {folder} holds no files of records (names that begin with . or _ "
        f"are passed over): {advice}"
    )


def _data(files: Iterable[str]) -> list[str]:
    """Those that may hold records, sorted."""
    return sorted(
        file
        for file in files
        if not any(fnmatch.fnmatch(os.path.basename(file), mark) for mark in _NO_DATA)
    )


def _split_of(file: str) -> str | None:
    match = _SPLIT.match(os.path.basename(file))
    return match.group(1).lower() if match else None


def _is_pattern(path: str) -> bool:
    return any(sign in path for sign in "*?[")
