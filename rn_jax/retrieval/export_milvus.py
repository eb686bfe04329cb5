r"""Puts an index into a collection of Milvus, a database server for vectors.

    python -m rn_jax.retrieval.export_milvus --index=INDEX \
        --uri=http://localhost:19530 --collection=scenes

A file as --uri, `scenes.db`, is written without a server, by Milvus Lite. Needs
pip install -e '.[milvus]'. A token, where the server asks for one, is read from
the environment variable MILVUS_TOKEN.

The collection has the fields image_index (its key), image_filename, path ("" if
unknown) and vector, and finds by brute force what an exact index finds; other
kinds of index can be made of it in Milvus. Its metric is L2, which Milvus
squares, or COSINE, which Milvus gives as the cosine itself.
"""

import contextlib
import logging as std_logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import flags, logging

from rn_jax.host import cli
from rn_jax.host.paths import local_path
from rn_jax.host.progress import progress_bar
from rn_jax.retrieval.nearest.index_files import ImageIndex, open_index

_AT_A_TIME = 1000  # images in a request
_METRICS = {"euclidean": "L2", "cosine": "COSINE"}


def export_milvus(
  index: str | os.PathLike,
  uri: str,
  collection: str,
  *,
  overwrite: bool = False,
) -> int:
  """Puts an index into a collection, which is there whole or not at all.

  Args:
    index: The index.
    uri: Of a server, as "http://localhost:19530", or a file "….db".
    collection: Its name.
    overwrite: Replace a collection of that name.

  Returns:
    How many images it holds.

  Raises:
    ImageIndexError: There is no index, or it is damaged.
    ValueError: pymilvus is not installed, the collection is there, or Milvus
      refuses something.
  """
  try:
    import pymilvus  # pyright: ignore[reportMissingImports] (an extra)
  except ImportError as error:
    raise ValueError(
      f"{error}; pip install -e '.[milvus]', which has pymilvus and Milvus Lite"
    ) from error
  # Milvus Lite's server logs a traceback for what it lacks and nobody misses.
  std_logging.getLogger("grpc").setLevel(std_logging.CRITICAL)
  images = open_index(index)
  if "://" not in uri:
    uri = local_path(uri)
    if not uri.endswith(".db"):
      raise ValueError(f"{uri} is neither http://… nor a file ….db")
  unfinished = f"{collection}_unfinished"
  try:
    with contextlib.closing(
      pymilvus.MilvusClient(uri, token=os.environ.get("MILVUS_TOKEN", ""))
    ) as client:
      if client.has_collection(collection) and not overwrite:
        raise ValueError(
          f"{uri} has a collection {collection} already; choose another name "
          "or pass --overwrite"
        )
      client.drop_collection(unfinished)  # of an earlier, killed export
      _create(client, unfinished, images)
      for start in progress_bar(range(0, len(images), _AT_A_TIME), desc=uri):
        client.insert(unfinished, list(_rows(images, start)))
      client.flush(unfinished)
      counted = client.query(
        unfinished, output_fields=["count(*)"], consistency_level="Strong"
      )
      count = counted[0]["count(*)"]
      if count != len(images):
        raise ValueError(
          f"{uri} took {count} of {len(images)} images; export them again"
        )
      client.drop_collection(collection)
      client.rename_collection(unfinished, collection)
  except pymilvus.MilvusException as error:
    raise ValueError(f"{uri}: {error.message}") from error
  logging.info("%s: %d images in %s", uri, count, collection)
  return count


def _create(client: Any, name: str, images: ImageIndex) -> None:
  """Makes an empty collection for an index."""
  from pymilvus import DataType  # pyright: ignore[reportMissingImports]

  header = images.header
  schema = client.create_schema(
    description=f"{header['descriptor']['name']} by rn_jax, {header['metric']}"
  )
  schema.add_field("image_index", DataType.INT64, is_primary=True)
  for field in ("image_filename", "path"):
    schema.add_field(field, DataType.VARCHAR, max_length=65_535)
  schema.add_field("vector", DataType.FLOAT_VECTOR, dim=images.vectors.d)
  index = client.prepare_index_params()
  index.add_index(
    "vector", index_type="FLAT", metric_type=_METRICS[header["metric"]]
  )
  client.create_collection(name, schema=schema, index_params=index)


def _rows(images: ImageIndex, start: int) -> Iterator[dict]:
  count = min(_AT_A_TIME, len(images) - start)
  vectors = images.vectors.reconstruct_n(start, count)
  for row, vector in enumerate(vectors, start):
    name = str(images.image_filename[row])
    folder = images.header["sources"][images.source[row]].get("folder")
    yield {
      "image_index": int(images.image_index[row]),
      "image_filename": name,
      "path": str(Path(folder, name)) if folder else "",
      "vector": vector,
    }


def _main(index: str, uri: str, collection: str, overwrite: bool) -> None:
  count = export_milvus(index, uri, collection, overwrite=overwrite)
  print(f"{uri}: {count:,} images in the collection {collection}")


if __name__ == "__main__":
  cli.run(
    _main,
    cli.path_flag("index", None, "Folder of the index.", required=True),
    flags.DEFINE_string(
      "uri", None, "Of a server, or a file ….db for Milvus Lite.", required=True
    ),
    flags.DEFINE_string(
      "collection", None, "Name of the collection.", required=True
    ),
    flags.DEFINE_bool(
      "overwrite", False, "Replace a collection that is there."
    ),
  )
