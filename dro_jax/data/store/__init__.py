"""Prepared splits: records read, checked and tokenised once, then mapped from files.

The first use of a split reads its source in one pass and writes a store, which every
later run of the same files, format and vocabulary opens at once.

- `folders`: where stores are kept.
- `file_facts`: what source files hold, remembered so that 5 GB are not read again.
- `code_digest`, `recipe`: what a split's records depend on, as a key.
- `units`: the parts of a split that one process reads.
- `claims`: which process reads which part.
- `shards`: a part's records, written in batches.
- `finishing`: the columns of all parts, and the manifest that makes a store whole.
- `stored_records`: the store as `SplitRecords`.
- `preparation`: all of it, by one process or several.

Raw arrays and texts, read by position, were chosen by measure: a million records of 80
tokens and 320 bytes of text (0.5 GB), in seconds, and milliseconds for 2,048 records
drawn at random, file cached:

| format                            | write | MB  | random (ms) | sequential |
| --------------------------------- | ----- | --- | ----------- | ---------- |
| raw, read by `os.pread`           |  0.14 | 493 |         2.6 |       0.02 |
| Arrow IPC, batches of 4,096       |  0.19 | 493 |        11.9 |       0.06 |
| ArrayRecord, groups of 1, raw     |  3.33 | 533 |         7.4 |       1.60 |
| ArrayRecord, groups of 1          | 13.95 | 502 |        11.6 |       3.19 |
| ArrayRecord, groups of 256        |  1.93 | 383 |        88.5 |       0.47 |

Tokens and texts are read, not mapped: pages of a map that have been touched count as
resident memory, which must not grow with the split.
"""
