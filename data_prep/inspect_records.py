"""Checks a records folder and shows what is in it.

    python -m data_prep.inspect_records --records_dir=records

Reads every record, verifies every checksum, prints counts and histograms, and
draws a contact sheet of a few scenes for each split.
"""

import os
from collections import Counter
from pathlib import Path

from absl import flags, logging

from data_prep.conversion.shards import sha256_of
from rn_jax.clevr import QUESTION_TYPES
from rn_jax.data import records
from rn_jax.data.images import read_image
from rn_jax.data.records import RecordError
from rn_jax.data.states import state_description
from rn_jax.data.vocabulary import answers_by_id
from rn_jax.host import cli
from rn_jax.host.paths import place
from rn_jax.plots.contact_sheet import Panel, draw_contact_sheet

# Of a scene, on the contact sheet.
_QUESTIONS = 4
_UNKNOWN = "unknown"
_NOT_GIVEN = "not given"  # of what a whole split does not have


def inspect_split(
  records_dir: str | os.PathLike, split: str, num_drawn: int = 6
) -> dict:
  """Verifies a split, counts what is in it, and draws some of its scenes.

  Args:
    records_dir: Records folder.
    split: Name of the split.
    num_drawn: Scenes on the contact sheet, spread over the split.

  Returns:
    Counters "answer", "question_type", "question_length" (tokens),
    "objects", "questions" (both per scene), "family"; numbers "num_scenes",
    "num_questions", "num_bytes", "num_shards"; "image" as in the manifest;
    "contact_sheet", the path of the drawing; None: it could not be written.

  Raises:
    RecordError: A checksum, a count or an index is wrong.
  """
  records_dir = place(records_dir)
  manifest = records.read_manifest(records_dir)
  _verify_files(records_dir, manifest, split)
  vocabulary = records.read_vocabulary(records_dir)
  entry = manifest["splits"][split]
  answers = answers_by_id(vocabulary["answers"])
  num_words = len(vocabulary["questions"])
  types = tuple(QUESTION_TYPES)
  every = max(1, entry["num_scenes"] // num_drawn)
  counters = {
    name: Counter()
    for name in (
      *("answer", "question_type", "question_length"),
      *("objects", "questions", "family"),
    )
  }
  drawn = []
  for number, scene in enumerate(records.read_scenes(records_dir, split)):
    where = f"{records_dir}: {split} scene {scene['image_filename']}"
    questions = scene["questions"]
    if any(not 0 < t <= num_words for ts in questions["tokens"] for t in ts):
      raise RecordError(f"{where}: a token is outside the vocabulary")
    if any(not -1 <= a < len(answers) for a in questions["answer"]):
      raise RecordError(f"{where}: an answer is outside the vocabulary")
    _check_lengths(questions, where)
    counters["objects"][len(scene["objects"]["rotation"])] += 1
    counters["questions"][len(questions["text"])] += 1
    counters["question_length"].update(map(len, questions["tokens"]))
    counters["family"].update(questions["family"])
    counters["answer"].update(
      answers[a] if a >= 0 else _UNKNOWN for a in questions["answer"]
    )
    counters["question_type"].update(
      types[t] if t >= 0 else _UNKNOWN for t in questions["question_type"]
    )
    if number % every == 0 and len(drawn) < num_drawn:
      drawn.append(_panel(scene, answers))
  sheet = records_dir / f"contact_sheet_{split}.png"
  try:
    draw_contact_sheet(sheet, drawn, f"{split}: {entry['num_scenes']:,} scenes")
  except OSError as error:  # the folder may be another's
    logging.warning("No contact sheet: %s", error)
    sheet = None
  return {
    **counters,
    "num_scenes": entry["num_scenes"],
    "num_questions": entry["num_questions"],
    "num_shards": len(entry["shards"]),
    "num_bytes": sum(shard["num_bytes"] for shard in entry["shards"]),
    "image": entry["image"],
    "contact_sheet": sheet,
  }


def _check_lengths(questions: dict, where: str) -> None:
  """Checks that no question is so long that drawing it takes for ever."""
  most_words = records.MAX_QUESTION_WORDS
  most_characters = records.MAX_QUESTION_CHARACTERS
  for text, tokens in zip(questions["text"], questions["tokens"], strict=True):
    if len(tokens) > most_words or len(text) > most_characters:
      raise RecordError(
        f"{where}: the question {text[:40]!r}... has {len(tokens):,} words and"
        f" {len(text):,} characters, more than {most_words:,} or"
        f" {most_characters:,}; leave it out and convert again"
      )


def _panel(scene: dict, answers: list[str]) -> Panel:
  """Makes a panel with a few questions, spread over the scene's."""
  questions = scene["questions"]
  count = len(questions["text"])
  chosen = sorted({count * k // _QUESTIONS for k in range(_QUESTIONS)})
  if scene["image"] is None:
    num_objects = len(scene["objects"]["rotation"])
    picture = state_description(
      scene["objects"], num_objects, scene["image_filename"]
    )
  else:
    picture = read_image(scene["image"], name=scene["image_filename"])
  return Panel(
    title=scene["image_filename"],
    picture=picture,
    questions=[
      (
        questions["text"][k],
        answers[questions["answer"][k]]
        if questions["answer"][k] >= 0
        else "(no answer)",
      )
      for k in (chosen if count else ())
    ],
  )


def _verify_files(records_dir: Path, manifest: dict, split: str) -> None:
  """Compares the files with the hashes that the manifest holds."""
  paths = records.shard_paths(records_dir, split)
  expected = {
    path: shard["sha256"]
    for path, shard in zip(
      paths, manifest["splits"][split]["shards"], strict=True
    )
  }
  vocabulary = records_dir / records.VOCABULARY
  if "vocabulary_sha256" in manifest:  # an earlier version did without
    expected[vocabulary] = manifest["vocabulary_sha256"]
  for path, sha256 in expected.items():
    if not path.exists():
      raise RecordError(f"{path}: missing; convert the data again")
    if sha256_of(path) != sha256:
      for _ in records.read_shard(path) if path != vocabulary else ():
        pass  # its own checksums tell more precisely where the damage is
      raise RecordError(
        f"{path}: its SHA-256 is not the one in the manifest; run the same"
        " data_prep.convert_clevr command again"
      )


def report(split: str, found: dict) -> str:
  """Returns the result of `inspect_split` as text."""
  image = found["image"]
  size = "no images"
  if image:
    size = f"images {image['width'] or '*'}×{image['height'] or '*'}"
  lengths, objects = found["question_length"], found["objects"]
  families = found["family"].keys() - {""}
  total = max(1, found["num_questions"])
  mean = sum(n * count for n, count in lengths.items()) / total
  lines = [
    f"{split}: {found['num_scenes']:,} scenes, {found['num_questions']:,}"
    f" questions, {size}",
    f"  shards: {found['num_shards']}, {found['num_bytes'] / 1e6:,.1f} MB,"
    " all checksums right",
    "  objects per scene (scenes): "
    + (_NOT_GIVEN if objects.keys() <= {0} else _sorted(objects)),
    f"  questions per scene (scenes): {_sorted(found['questions'])}",
    f"  question length in tokens: {min(lengths, default=0)} to"
    f" {max(lengths, default=0)}, mean {mean:.1f}",
    f"  question families: {len(families) or _NOT_GIVEN}",
  ]
  for name in ("question_type", "answer"):
    title = f"  {name.replace('_', ' ')}s:"
    if found[name].keys() <= {_UNKNOWN}:
      lines.append(f"{title} {_NOT_GIVEN}")
      continue
    lines.append(title)
    top = max(found[name].values(), default=1)
    lines += [
      f"    {key:<17} {count:>8,}  {100 * count / total:5.1f} %"
      f"  {'█' * round(30 * count / top)}".rstrip()
      for key, count in found[name].most_common()
    ]
  if found["contact_sheet"]:
    lines.append(f"  contact sheet: {found['contact_sheet']}")
  return "\n".join(lines)


def _sorted(counter: Counter) -> str:
  return ", ".join(f"{n} ({count:,})" for n, count in sorted(counter.items()))


def _main(records_dir: str, split: list[str]) -> None:
  for name in split or records.read_manifest(records_dir)["splits"]:
    print(report(name, inspect_split(records_dir, name)))


if __name__ == "__main__":
  cli.run(
    _main,
    cli.path_flag(
      "records_dir", None, "Records folder.", required=True, addresses=True
    ),
    flags.DEFINE_list("split", [], "Splits to look at; empty: all."),
  )
