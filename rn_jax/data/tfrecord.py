"""TFRecord files and tf.train.Example messages, without TensorFlow.

A TFRecord file is a sequence of records; each is
`length (uint64) | masked CRC of the length | payload | masked CRC of the
payload`, all little-endian. The CRC is CRC-32C; the mask keeps a CRC of data
that holds CRCs from being weak. Both CRCs are checked on every read.
"""

import hashlib
import os
import struct
import warnings
from collections.abc import Iterable, Iterator, Mapping
from multiprocessing import parent_process
from typing import Any, NamedTuple

from absl import logging
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from rn_jax.host.atomic import replacing
from rn_jax.host.paths import place, size_of

with warnings.catch_warnings():
  # Without its C extension the package warns that it is slow; so do we, below.
  warnings.simplefilter("ignore", RuntimeWarning)
  import google_crc32c

# Processes that a conversion starts need not say it again.
if google_crc32c.implementation == "python" and not parent_process():
  logging.warning(
    "Records will be read and written slowly: google-crc32c lacks its C "
    "extension here. Most platforms get it by pip install --force-reinstall "
    "--only-binary=:all: google-crc32c"
  )

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")


class RecordError(ValueError):
  """Stored records are missing, damaged, or of another version."""


class ShardInfo(NamedTuple):
  """What was written to one shard."""

  num_records: int
  num_bytes: int  # size of the file
  sha256: str  # of the file


def _masked_crc(data: bytes) -> int:
  crc = google_crc32c.value(data)
  return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def write_shard(
  path: str | os.PathLike, payloads: Iterable[bytes]
) -> ShardInfo:
  """Writes one TFRecord file; it appears under its name only when complete.

  Args:
    path: File to write; an existing one is replaced.
    payloads: The records, consumed once and in order.
  """
  digest = hashlib.sha256()
  num_records = num_bytes = 0
  with replacing(path) as temporary, open(temporary, "wb") as file:
    for payload in payloads:
      length = struct.pack("<Q", len(payload))
      record = b"".join(
        (
          length,
          _FOOTER.pack(_masked_crc(length)),
          payload,
          _FOOTER.pack(_masked_crc(payload)),
        )
      )
      file.write(record)
      digest.update(record)
      num_records += 1
      num_bytes += len(record)
  return ShardInfo(num_records, num_bytes, digest.hexdigest())


def read_shard(path: str | os.PathLike) -> Iterator[bytes]:
  """Yields the payloads of a TFRecord file, every checksum verified.

  Raises:
    RecordError: The file is missing, cut off, or some of its bytes changed.
  """

  def damaged(what: str) -> RecordError:
    return RecordError(
      f"{path}: record {number} at byte {offset}: {what}. The shard is"
      " damaged: run the same data_prep.convert_clevr command again, it"
      " rewrites damaged shards; or copy the shard anew from where it came"
    )

  number = offset = 0
  try:
    file = place(path).open("rb")
  except FileNotFoundError:
    raise RecordError(
      f"{path}: no such shard; convert the data again"
    ) from None
  with file:
    remaining = size_of(file)
    while header := file.read(_HEADER.size):
      if len(header) < _HEADER.size:
        raise damaged("the file ends within the length of the record")
      length, length_crc = _HEADER.unpack(header)
      if _masked_crc(header[:8]) != length_crc:
        raise damaged("the checksum of the record's length does not match")
      remaining -= _HEADER.size + length + _FOOTER.size
      if remaining < 0:
        raise damaged(f"the file ends {-remaining} bytes before the record")
      payload = file.read(length)
      (payload_crc,) = _FOOTER.unpack(file.read(_FOOTER.size))
      if _masked_crc(payload) != payload_crc:
        raise damaged("the checksum of the record's data does not match")
      yield payload
      number += 1
      offset += _HEADER.size + length + _FOOTER.size


def _example_class() -> Any:
  """Builds the tf.train.Example message class from its wire format."""
  field = descriptor_pb2.FieldDescriptorProto
  file = descriptor_pb2.FileDescriptorProto(
    name="rn_jax/example.proto", package="rn_jax", syntax="proto3"
  )

  def message(name, *fields, parent=file.message_type):
    proto = parent.add(name=name)
    for number, (field_name, kind, type_name) in enumerate(fields, 1):
      proto.field.add(
        name=field_name,
        number=number,
        label=kind[0],
        type=kind[1],
        type_name=type_name,
      )
    return proto

  one = (field.LABEL_OPTIONAL, field.TYPE_MESSAGE)
  many = (field.LABEL_REPEATED, field.TYPE_MESSAGE)
  key = (field.LABEL_OPTIONAL, field.TYPE_STRING)
  message(
    "BytesList", ("value", (field.LABEL_REPEATED, field.TYPE_BYTES), None)
  )
  message(
    "FloatList", ("value", (field.LABEL_REPEATED, field.TYPE_FLOAT), None)
  )
  message(
    "Int64List", ("value", (field.LABEL_REPEATED, field.TYPE_INT64), None)
  )
  feature = message(
    "Feature",
    ("bytes_list", one, ".rn_jax.BytesList"),
    ("float_list", one, ".rn_jax.FloatList"),
    ("int64_list", one, ".rn_jax.Int64List"),
  )
  feature.oneof_decl.add(name="kind")
  for proto in feature.field:
    proto.oneof_index = 0
  features = message(
    "Features", ("feature", many, ".rn_jax.Features.FeatureEntry")
  )
  entry = message(
    "FeatureEntry",
    ("key", key, None),
    ("value", one, ".rn_jax.Feature"),
    parent=features.nested_type,
  )
  entry.options.map_entry = True
  message("Example", ("features", one, ".rn_jax.Features"))
  pool = descriptor_pool.DescriptorPool()  # not the shared one TensorFlow uses
  pool.Add(file)
  return message_factory.GetMessageClass(
    pool.FindMessageTypeByName("rn_jax.Example")
  )


_Example = _example_class()


def encode_example(
  values: Mapping[str, tuple[str, Iterable]],
) -> bytes:
  """Serialises features to a tf.train.Example; equal input, equal bytes.

  Args:
    values: Feature name -> (kind, values); kind is "bytes", "float" or
      "int64".
  """
  example = _Example()
  features = example.features.feature
  for name, (kind, items) in values.items():
    container = getattr(features[name], f"{kind}_list")
    container.SetInParent()  # an empty list still says what it is a list of
    container.value.extend(items)
  return example.SerializeToString(deterministic=True)


def decode_example(
  payload: bytes, names: Iterable[str] | None = None
) -> dict[str, tuple[str, list]]:
  """Reverses `encode_example`; the values come as plain lists.

  Args:
    payload: The message.
    names: Features to return, which takes the less time the fewer they are;
      those that are not there are left out. None: all.

  Raises:
    RecordError: The payload is no tf.train.Example.
  """
  try:
    example = _Example.FromString(payload)
  except Exception as error:  # the class differs between protobuf backends
    raise RecordError(f"not a tf.train.Example: {error}") from error
  features = example.features.feature
  decoded = {}
  for name in features if names is None else names:
    if name not in features:
      continue  # asking for it would make it
    feature = features[name]
    kind = feature.WhichOneof("kind")
    values = [] if kind is None else list(getattr(feature, kind).value)
    decoded[name] = ("" if kind is None else kind[: -len("_list")], values)
  return decoded
