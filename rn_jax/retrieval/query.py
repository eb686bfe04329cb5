"""Searches an index for images like some others.

    python -m rn_jax.retrieval.query --index=INDEX --image_index=3 --k=10
    python -m rn_jax.retrieval.query --index=INDEX --image=photo.png

    from rn_jax.retrieval.query import load_index

    index = load_index("INDEX")
    for hit in index.like(["photo.png"], k=5):
      print(hit.rank, hit.image_filename, hit.distance)

Several images make one query: the mean of their vectors. What the query
consists of is not found again: images of the index, and files that the index
was made of. Files are described by the network that described the index; for
networks on states a file is the JSON of one scene of CLEVR's scenes file.
"""

import csv
import dataclasses
import io
import json
import os
from collections.abc import Sequence

import jax
from absl import app, flags

from rn_jax.host import cli
from rn_jax.host.atomic import replacing
from rn_jax.host.paths import NAMES
from rn_jax.retrieval.image_indices import is_index
from rn_jax.retrieval.nearest.loaded_index import Hit, LoadedIndex, load_index
from rn_jax.run_log import quiet_backends

__all__ = ["Hit", "LoadedIndex", "load_index", "to_csv", "to_json"]


def to_json(images: Sequence[int | str], hits: Sequence[Hit]) -> str:
  """Returns a query and what it found as JSON."""
  found = [dataclasses.asdict(hit) for hit in hits]
  return (
    json.dumps({"query": list(images), "hits": found}, indent=2, default=_plain)
    + "\n"
  )


def _plain(value) -> int | str:
  """Returns an index of NumPy, or a path, as JSON has it."""
  return int(value) if is_index(value) else os.fspath(value)


def to_csv(hits: Sequence[Hit]) -> str:
  """Returns what a query found as CSV with a header."""
  text = io.StringIO()
  names = [field.name for field in dataclasses.fields(Hit)]
  writer = csv.DictWriter(text, names, lineterminator="\n")
  writer.writeheader()
  writer.writerows(map(dataclasses.asdict, hits))
  return text.getvalue()


def _main(
  index: str,
  image_index: list[int],
  image: list[str],
  checkpoint: str | None,
  k: int,
  format: str,
  output: str | None,
) -> None:
  images = [*image_index, *image]
  if not images:
    raise app.UsageError("--image_index or --image is needed")
  quiet_backends()
  # As exact as extraction, see launch.py.
  jax.config.update("jax_default_matmul_precision", "highest")
  hits = load_index(index, checkpoint).like(images, k)
  text = to_csv(hits) if format == "csv" else to_json(images, hits)
  if not output:
    print(text, end="")
    return
  with replacing(output) as temporary:
    temporary.write_text(text, encoding="utf-8", errors=NAMES)


if __name__ == "__main__":
  cli.run(
    _main,
    cli.path_flag("index", None, "The index to search.", required=True),
    flags.DEFINE_multi_integer(
      "image_index", [], "Index of an image; may be given several times."
    ),
    cli.multi_path_flag("image", [], "Image file; may be given several times."),
    cli.path_flag(
      "checkpoint",
      None,
      "The network that the index was made with; not given: where it was then.",
    ),
    flags.DEFINE_integer("k", 10, "How many to find.", lower_bound=1),
    flags.DEFINE_enum("format", "json", ["json", "csv"], "What to write."),
    cli.path_flag("output", None, "File to write; not given: print."),
  )
