r"""Shows what descriptors find: queries, their nearest images, ground truth.

    python -m rn_jax.retrieval.gallery --features=features_val.npz \
        --query=3,7 --ground_truth=v2_soft.npz --output=gallery.html,gallery.png

A row of pictures per descriptor; with a ground truth also a row of what is
nearest by it, and frames around the images that are among its k nearest (those
as near as its k-th included). The HTML page has all pictures in itself.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from rn_jax.host import cli
from rn_jax.host.atomic import replacing
from rn_jax.host.paths import NAMES, local_paths
from rn_jax.retrieval.describe.features import load_features
from rn_jax.retrieval.pages.gallery_page import html_page
from rn_jax.retrieval.pages.gallery_picture import draw_sheets
from rn_jax.retrieval.pages.gallery_sheets import compare
from rn_jax.retrieval.pages.thumbnails import load_pictures
from rn_jax.retrieval.scene_graphs.ground_truth_file import load_ground_truth


def write_gallery(
  output: Sequence[str | os.PathLike],
  features: Sequence[str | os.PathLike],
  queries: Sequence[int],
  *,
  descriptors: Sequence[str] = (),
  ground_truth: str | os.PathLike | None = None,
  k: int = 10,
  images: str | os.PathLike | None = None,
) -> None:
  """Writes galleries.

  Args:
    output: Files to write, .png or .html.
    features: Features files of the same images.
    queries: Image indices.
    descriptors: Names; empty: all.
    ground_truth: A ground-truth file, or None.
    k: Images in a row.
    images: Folder of the image files; None: what the first features file says.

  Raises:
    ValueError: A file is damaged, or does not have what is asked for.
    OSError: A file cannot be read or written.
  """
  output, features = local_paths(output), local_paths(features)
  suffixes = [Path(path).suffix for path in output]
  if not suffixes or set(suffixes) - {".png", ".html"}:
    raise ValueError("name files to write that end in .png or .html")
  loaded = [load_features(path) for path in features]
  truth = load_ground_truth(ground_truth) if ground_truth else None
  sheets = compare(loaded, queries, k, descriptors=descriptors, truth=truth)
  shown = {sheet.image for sheet in sheets} | {
    tile.image for sheet in sheets for row in sheet.rows for tile in row.tiles
  }
  pictures = load_pictures(loaded[0], sorted(shown), images)
  for path, suffix in zip(output, suffixes, strict=True):
    with replacing(path) as temporary:
      if suffix == ".html":
        page = html_page(sheets, pictures)
        temporary.write_text(page, encoding="utf-8", errors=NAMES)
      else:
        draw_sheets(sheets, pictures).save(temporary, format="png")


def _main(output: list[str], query: list[str], **settings) -> None:
  write_gallery(output, queries=[int(q) for q in query], **settings)
  print("\n".join(output))


if __name__ == "__main__":
  cli.run(
    _main,
    cli.paths_flag(
      "features", None, "Features files of the same images.", required=True
    ),
    flags.DEFINE_list(
      "query", None, "Image indices of the queries.", required=True
    ),
    cli.paths_flag(
      "output", None, "Files to write, .png or .html.", required=True
    ),
    flags.DEFINE_list(
      "descriptors", [], "Names of the descriptors to show; not given: all."
    ),
    cli.path_flag("ground_truth", None, "Ground-truth file to show, too."),
    flags.DEFINE_integer("k", 10, "Images in a row.", lower_bound=1),
    cli.path_flag(
      "images",
      None,
      "Folder of the image files; not given: where the features were made.",
    ),
  )
