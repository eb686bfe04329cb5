"""Files of questions as people have them: CLEVR's JSON, JSON lines, or CSV."""

import csv
import itertools
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from rn_jax.data.clevr_json import SourceError, read_elements
from rn_jax.host.paths import local_path

IMAGE_FIELDS = ("image_filename", "image", "image_index")
_NUMBERS = ("image_index", "question_index")
_FORMS = (
  "Questions come as JSON with a list 'questions', as CLEVR's; as JSON lines, "
  f"one question each; or as CSV with columns question and {IMAGE_FIELDS[0]}, "
  f"{IMAGE_FIELDS[1]} or {IMAGE_FIELDS[2]}"
)
_HEAD = 1 << 16  # bytes that show what a file is; a question has far fewer


class QuestionFileError(ValueError):
  """A file of questions cannot be read, or one of it cannot be asked."""


def read_question_file(
  path: str | os.PathLike,
) -> Iterator[tuple[str, dict]]:
  """Yields the questions of a file, in its order.

  What a file is shows its content, not its name.

  Yields:
    What errors call the question, and its fields by name as in CLEVR's JSON;
    of CSV, numbers of images and questions as int, and no empty fields.

  Raises:
    QuestionFileError: It is none of the three, or broken.
    OSError: It cannot be opened.
  """
  path = Path(local_path(path))
  if not path.exists():
    raise QuestionFileError(f"{path}: no such file of questions")
  if not path.is_file():
    raise QuestionFileError(f"{path}: no regular file. {_FORMS}")
  with open(path, "rb") as file:
    head = file.read(_HEAD).removeprefix(b"\xef\xbb\xbf").lstrip()
  if not head:
    raise QuestionFileError(f"{path}: is empty. {_FORMS}")
  # Which of the two keys an object has first, on the first line of the file.
  key = re.match(rb'\{[^\n]*?"(questions?)"\s*:', head)
  try:
    if key and key[1] == b"question":
      yield from _read_lines(path)
    elif head[:1] in b"{[":
      elements = read_elements(path, "questions")
      for number, element in enumerate(elements):
        yield f"{path}: question {number}", element
    else:
      yield from _read_table(path)
  except SourceError as error:
    raise QuestionFileError(f"{error}. {_FORMS}") from None
  except UnicodeDecodeError as error:
    raise QuestionFileError(f"{path}: no UTF-8 ({error}). {_FORMS}") from None


def _read_lines(path: Path) -> Iterator[tuple[str, dict]]:
  with open(path, encoding="utf-8-sig") as file:
    for number, line in enumerate(file, start=1):
      where = f"{path}: line {number}"
      if not line.strip():
        continue
      try:
        element = json.loads(line)
      except (ValueError, RecursionError) as error:
        raise QuestionFileError(
          f"{where}: broken JSON ({error}); correct it, or leave the line out"
        ) from None
      if not isinstance(element, dict):
        raise QuestionFileError(f"{where}: no JSON object. {_FORMS}")
      yield where, element


def _read_table(path: Path) -> Iterator[tuple[str, dict]]:
  with open(path, encoding="utf-8-sig", newline="") as file:
    header = file.readline(_HEAD)
    separator = max(",;\t", key=header.count)
    rows = csv.reader(
      itertools.chain([header], file), delimiter=separator, strict=True
    )
    try:
      names = [name.strip().lower() for name in next(rows, [])]
      if "question" not in names or not {*IMAGE_FIELDS} & {*names}:
        raise QuestionFileError(
          f"{path}: its first line, {header[:80].strip()!r}, does not name the "
          f"columns. {_FORMS}"
        )
      for row in rows:
        where = f"{path}: line {rows.line_num}"
        if not any(field.strip() for field in row):
          continue
        if len(row) != len(names):
          raise QuestionFileError(
            f"{where}: {len(row)} fields, but {len(names)} columns; put texts "
            f'that have a {separator!r} into quotes "…"'
          )
        yield where, _named(names, row)
    except csv.Error as error:
      raise QuestionFileError(
        f"{path}: line {rows.line_num}: broken CSV ({error}); correct it"
      ) from None


def _named(names: list[str], row: list[str]) -> dict:
  """Returns the fields of a row by name, empty ones left out."""
  fields: dict[str, str | int] = {
    name: text.strip()
    for name, text in zip(names, row, strict=True)
    if text.strip()
  }
  for name in _NUMBERS:
    # Tables with gaps have 3.0 for 3.
    if found := re.fullmatch(r"(\d+)(\.0+)?", str(fields.get(name))):
      fields[name] = int(found[1])
  if found := re.fullmatch(r"(\d+)\.0+", str(fields.get("answer"))):
    fields["answer"] = found[1]
  return fields
