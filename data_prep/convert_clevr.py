r"""Converts a CLEVR folder to records: shards, vocabulary, metadata, manifest.

    python -m data_prep.convert_clevr --clevr_dir=CLEVR_v1.0 \
        --output_dir=records [--splits=train,val]

Run it again after an interruption: finished shards are kept. A split can be
added to a finished folder later; it then uses the vocabulary of the folder.

Words and answers are numbered as they appear in the train split; those of CLEVR
that do not appear there come last. Where other splits have words of their own,
--vocabulary_splits=train,val numbers those, too.
"""

import functools
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags

from data_prep.conversion import (
  oddities,
  records_folder,
  shards,
  tfds_source,
)
from data_prep.conversion.clevr_source import Split, load_split
from data_prep.conversion.growing_vocabulary import Vocabulary
from data_prep.conversion.scene_record import Drawing, build_drawn, build_scene
from rn_jax.data.clevr_json import SourceError
from rn_jax.host import cli
from rn_jax.host.exclusive import exclusive
from rn_jax.host.paths import local_path, place
from rn_jax.host.pool import pool_of


def convert(
  clevr_dir: str | os.PathLike,
  output_dir: str | os.PathLike,
  splits: Sequence[str] = (),
  *,
  image_size: int = 128,
  vocabulary: str | os.PathLike | None = None,
  vocabulary_splits: Sequence[str] = (),
  workers: int | None = None,
  beam_options: str | None = None,
  num_shards: int | None = None,
  images: str = "auto",
  drawing: Drawing | None = None,
  source: str = "clevr",
  skip_missing: bool = False,
  annotations: bool = False,
) -> dict:
  """Converts splits of a CLEVR folder, or of one generated here.

  The vocabulary is the given file, else that of the output folder, else it is
  made from some splits and completed by the words and answers of CLEVR that
  they do not have. All other questions must get by with it.

  Args:
    clevr_dir: Folder with `questions/`, `scenes/` and maybe `images/`; or the
      data_dir of tensorflow_datasets.
    output_dir: Records folder to make or to extend.
    splits: Names of the splits; by default all that there are.
    image_size: Width and height in pixels; 0 keeps the images as they are.
    vocabulary: Vocabulary file to use, or "clevr"; see rn_jax.data.vocabulary.
    vocabulary_splits: Splits to make the vocabulary from, in this order; by
      default the first whose name starts with "train".
    workers: Number of processes; by default one per core.
    beam_options: Options of Apache Beam, whose workers then write the shards;
      see docs/beam.md.
    num_shards: Shards per split; by default one for every 512 scenes.
    images: "yes", "no", or "auto": yes where there is an images folder.
    drawing: Draws the images, of image_size and all in one process or by
      Beam, instead of reading them; `images` is not used then.
    source: "clevr"; or "tfds": the data set that tensorflow_datasets has
      prepared, read in this process and with its images.
    skip_missing: Leave scenes out whose image file is not there, and their
      questions; not given, they are an error.
    annotations: Put what `annotations/` says of the objects into the records:
      boxes and masks.

  Returns:
    The manifest of the output folder.

  Raises:
    BusyError: Another conversion writes to the output folder.
    SourceError: The source is incomplete or damaged.
    ValueError: Both a vocabulary and splits to make it from are given, or
      skip_missing where no image files are read, or annotations where there
      are none, or Beam shall read the data set of tfds.
    RecordError: The output folder cannot take these splits.
    VocabularyError: The vocabulary file is unusable.
  """
  if vocabulary and vocabulary_splits:
    raise ValueError("give either vocabulary or vocabulary_splits")
  if skip_missing and (source == "tfds" or drawing or images == "no"):
    raise ValueError("skip_missing is for images that are read from files")
  if annotations and source == "tfds":
    raise ValueError("the data set of tfds has no annotations")
  pool = pool_of(workers, beam_options)
  if source == "tfds" or drawing:
    pool = pool.of_one_process()
  if source == "tfds" and not pool.is_here:
    raise ValueError(
      "the data set of tfds is read in one process: leave beam_options out"
    )
  output_dir = place(output_dir)
  if source == "tfds":
    name, examples = tfds_source.open_tfds(local_path(clevr_dir))
    splits = splits or tfds_source.SPLITS
    load = functools.partial(tfds_source.load_split, examples, image_size)
  else:
    clevr_dir = place(clevr_dir).absolute()  # wherever a worker is
    name = clevr_dir.resolve().name
    present = _find_splits(clevr_dir, [*splits, *vocabulary_splits])
    splits = splits or present
    load = functools.partial(
      _load_split,
      clevr_dir,
      image_size,
      images,
      drawing,
      skip_missing,
      annotations,
    )
  # Those that give the vocabulary first.
  splits = sorted(
    dict.fromkeys(splits), key=lambda split: not split.startswith("train")
  )
  if not vocabulary_splits and splits[0].startswith("train"):
    vocabulary_splits = splits[:1]
  with exclusive(output_dir / ".convert.lock"):
    manifest = records_folder.open_folder(output_dir)
    words = records_folder.open_vocabulary(
      vocabulary, output_dir, manifest, vocabulary_splits
    )
    read = {}  # what is read before the vocabulary is complete
    if not words.frozen:
      read = {split: load(split, words) for split in vocabulary_splits}
      words.freeze()
    for split in splits:
      loaded, build = read.pop(split, None) or load(split, words)
      num = shards.count_shards(len(loaded.sources), num_shards)
      description = records_folder.describe(
        name,
        loaded.fingerprints,
        words,
        image_size=image_size,
        num_shards=num,
        # Folders made without it do not have it.
        **({"annotations": True} if annotations else {}),
      )
      known = records_folder.check_fits(
        output_dir, manifest, split, description, loaded.has_images
      )
      entries = shards.write_shards(
        output_dir,
        split,
        loaded.sources,
        build,
        key=records_folder.key_of(description),
        num_shards=num,
        pool=pool,
        known=known,
      )
      manifest["splits"][split] = {
        **shards.summarise(entries, loaded.oddities),
        "source": description,
      }
    manifest["vocabulary_sha256"] = words.sha256()
    records_folder.finish_folder(output_dir, manifest, words, splits)
  for split in splits:
    oddities.tell(
      f"{clevr_dir}: {split}", manifest["splits"][split]["warnings"]
    )
  return manifest


def _load_split(
  clevr_dir: Path,
  image_size: int,
  images: str,
  drawing: Drawing | None,
  skip_missing: bool,
  annotations: bool,
  split: str,
  vocabulary: Vocabulary,
) -> tuple[Split, Callable]:
  """Returns a split and what makes record contents of its sources."""
  loaded = load_split(
    clevr_dir,
    split,
    vocabulary,
    "drawn" if drawing else images,
    skip_missing,
    annotations,
  )
  # Those of splits that are read later come behind.
  options = {"annotations": annotations, "values": vocabulary.values}
  if not drawing:
    build = functools.partial(build_scene, image_size=image_size, **options)
    return loaded, functools.partial(map, build)
  loaded.fingerprints["images"] = json.dumps(drawing.made_from)
  return loaded, functools.partial(build_drawn, drawing=drawing, **options)


def _find_splits(clevr_dir: Path, wanted: Sequence[str]) -> list[str]:
  """Returns the splits that there are, among them those that are wanted."""
  names = [path.name for path in clevr_dir.glob("questions/*.json")]
  matches = [re.fullmatch(r"CLEVR_(\w+)_questions\.json", n) for n in names]
  present = sorted(match[1] for match in matches if match)
  if not present:
    raise SourceError(
      f"{clevr_dir / 'questions'}: no files CLEVR_<split>_questions.json;"
      " --clevr_dir must hold images/, scenes/ and questions/ as CLEVR_v1.0"
      " does"
    )
  for split in wanted:
    if split not in present:
      raise SourceError(
        f"{clevr_dir / 'questions'}: no CLEVR_{split}_questions.json; splits"
        f" there: {', '.join(present)}"
      )
  return present


def _main(output_dir: str, **options) -> None:
  manifest = convert(output_dir=output_dir, **options)
  for name, split in manifest["splits"].items():
    print(
      f"{output_dir}: {name}: {split['num_scenes']} scenes,"
      f" {split['num_questions']} questions"
    )


if __name__ == "__main__":
  cli.run(
    _main,
    cli.path_flag(
      "clevr_dir",
      None,
      "CLEVR folder, or the data_dir of tensorflow_datasets with "
      "--source=tfds.",
      required=True,
      addresses=True,
    ),
    cli.path_flag(
      "output_dir", None, "Records folder.", required=True, addresses=True
    ),
    flags.DEFINE_list("splits", [], "Such as train,val; not given: all."),
    flags.DEFINE_integer(
      "image_size",
      128,
      "Width and height in pixels; 0 keeps the images as they are.",
      lower_bound=0,
    ),
    cli.path_flag(
      "vocabulary",
      None,
      "Vocabulary file to use, or clevr for that of CLEVR's train split, as "
      "published weights have it; not given: that of the output folder, or one "
      "made from --vocabulary_splits.",
    ),
    flags.DEFINE_list(
      "vocabulary_splits",
      [],
      "Splits to make the vocabulary from, such as train,val; not given: the "
      "first whose name starts with train.",
    ),
    flags.DEFINE_integer(
      "workers", None, "Processes; not given: one per core.", lower_bound=1
    ),
    cli.beam_flag("beam_options"),
    flags.DEFINE_integer(
      "num_shards",
      None,
      "Shards per split; not given: one for every 512 scenes.",
      lower_bound=1,
    ),
    flags.DEFINE_enum(
      "images",
      "auto",
      ["auto", "yes", "no"],
      "Whether to convert images; auto: where there is an images folder.",
    ),
    flags.DEFINE_bool(
      "skip_missing",
      False,
      "Leave scenes out whose image is not there, and their questions; not "
      "given, they are an error.",
    ),
    flags.DEFINE_bool(
      "annotations",
      False,
      "Put boxes and masks of the objects into the records, from annotations/.",
    ),
    flags.DEFINE_enum(
      "source", "clevr", ["clevr", "tfds"], "What --clevr_dir is."
    ),
  )
