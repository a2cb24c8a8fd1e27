"""Numbers of a part of a collection, out of the table that names each picture's place in another collection."""

from __future__ import annotations

from pathlib import Path

from bench.data.sources import Mapped
from bench.errors import DataError, message_of


def mapped_numbers(folder: Path, mapped: Mapped, count: int) -> list[int]:
    """Numbers of the pictures that lie in the part, in order.

    A line of the table is number, index from 0 and file name (from 1) in the other collection; a head line may stand
    above. Index and name must agree, as the part's borders are counted from 1.

    Args:
        folder: of the pictures; the table lies in it or beside it. count: how many there must be.
    Raises:
        DataError: no table, a line of another form, a number twice, another count.
    """
    path = next((p for p in (folder / mapped.table, folder.parent / mapped.table) if p.is_file()), None)
    if path is None:
        raise DataError(
            f"which pictures are meant stands in {mapped.table}, which is not there",
            got=f"no such file in {folder} or {folder.parent}",
            fix="put the file of that name, which comes with the pictures, beside their folder",
        )
    found: dict[int, int] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"table {path} cannot be read", got=message_of(error)) from None
    for line, text in enumerate(lines, 1):
        fields = text.split()
        if not fields or (line == 1 and not fields[0].isdecimal()):
            continue
        number, name = _entry(fields)
        if name is None or number in found:
            raise DataError(
                f"line {line} of {path} is no entry of this table" if name is None else f"{path} has a number twice",
                got=text.strip()[:80],
                expected="number, index from 0 and file name from 1, as in `2 200121 200122.jpg`",
                fix="use the file as it was published",
            )
        found[number] = name
    chosen = sorted(number for number, name in found.items() if mapped.first <= name <= mapped.last)
    if len(chosen) != count:
        raise DataError(
            f"table {path} names other pictures than meant",
            got=f"{len(chosen)} of {len(found)} lie between {mapped.first} and {mapped.last}",
            expected=f"{count}",
            fix="use the file as it was published",
        )
    return chosen


def _entry(fields: list[str]) -> tuple[int, int | None]:
    """(number, number of the file in the other collection); None where the fields are not those of an entry."""
    if len(fields) != 3 or not all(f.split(".")[0].isdecimal() for f in fields):
        return -1, None
    number, index, name = (int(f.split(".")[0]) for f in fields)
    return number, name if name == index + 1 else None
