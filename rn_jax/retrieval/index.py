r"""Makes and changes indices, the databases that `query` searches.

    python -m rn_jax.retrieval.index --features=F.npz --descriptor=g2_avg \
        --output=INDEX
    python -m rn_jax.retrieval.index --output=INDEX --add=MORE.npz
    python -m rn_jax.retrieval.index --output=INDEX --remove=3,shop/7.png
    python -m rn_jax.retrieval.index --output=INDEX --merge=OTHER
    python -m rn_jax.retrieval.index --features=F0.npz,F1.npz --output=INDEX
    python -m rn_jax.retrieval.index --features=F.npz --descriptor=g2_avg \
        --output=INDEX --factory=IVF256,Flat --search=nprobe=16
    python -m rn_jax.retrieval.index --features=G.npz --output=OTHER \
        --trained_as=INDEX

An index holds vectors of one descriptor of one network. Search is exact unless
--factory names another kind of FAISS's indices, which pays only for hundreds
of thousands of images: https://github.com/facebookresearch/faiss/wiki
"""

from absl import app, flags

from rn_jax.host import cli
from rn_jax.retrieval.describe.features import METRICS, Features, load_features
from rn_jax.retrieval.nearest.changes import (
  add_images,
  merge_index,
  remove_images,
)
from rn_jax.retrieval.nearest.making import build_index

__all__ = ["add_images", "build_index", "merge_index", "remove_images"]


def _names(of: Features | list[str]) -> list[str]:
  features = of if isinstance(of, Features) else load_features(of[0])
  return list(features.descriptors)


def _main(
  output: str,
  features: list[str],
  descriptor: str | None,
  add: str | None,
  merge: str | None,
  remove: list[str],
  **how,
) -> None:
  if sum(map(bool, (features, add, merge, remove))) != 1:
    raise app.UsageError(
      "one of --features, --add, --merge and --remove is needed"
    )
  if features:
    # Of several files one at a time is in memory.
    of = load_features(features[0]) if len(features) == 1 else features
    names = [descriptor] if descriptor else _names(of)
    if len(names) > 1:
      raise app.UsageError(f"--descriptor is needed: one of {names}")
    index = build_index(of, names[0], output, **how)
  elif add:
    index = add_images(output, load_features(add))
  elif merge:
    index = merge_index(output, merge)
  else:
    index = remove_images(output, remove)
  header = index.header
  print(
    f"{output}: {len(index):,} images, {index.vectors.d} numbers each, "
    f"{header['descriptor']['name']}, {header['metric']}, {header['factory']}"
  )


if __name__ == "__main__":
  cli.run(
    _main,
    cli.path_flag("output", None, "Folder of the index.", required=True),
    cli.paths_flag(
      "features", [], "Features files to make it of, with commas between them."
    ),
    flags.DEFINE_string(
      "descriptor",
      None,
      "Name of the descriptor; not given: the only one of the features file.",
    ),
    flags.DEFINE_enum(
      "metric",
      None,
      METRICS,
      "How images are compared; not given: as is usual for the descriptor.",
    ),
    flags.DEFINE_string(
      "factory",
      None,
      "FAISS's name for the kind of index; not given: Flat, which is exact. "
      "For many images HNSW32 or IVF256,Flat or, compressed, IVF256,PQ16np.",
    ),
    cli.path_flag(
      "trained_as",
      None,
      "Index whose kind, training and search to take over, in place of "
      "--factory, --metric and --search; merging the two then moves codes.",
    ),
    flags.DEFINE_string(
      "search",
      None,
      "FAISS's search parameters, as nprobe=16 (how many of IVF's lists are "
      "searched; by default one) or efSearch=64 (for HNSW; by default 16).",
    ),
    cli.path_flag("add", None, "Features file to add to the index."),
    cli.path_flag(
      "merge", None, "Index of the same descriptor whose images to add."
    ),
    flags.DEFINE_list(
      "remove", [], "Images to remove from the index: indices or names."
    ),
    flags.DEFINE_bool("overwrite", False, "Replace an index that is there."),
  )
