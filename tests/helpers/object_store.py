"""An object store in memory, for gs:// in the tests.

As those of others, it has no folders, and an object appears when it is closed.
"""

import io

import fsspec
from etils import epath


class ObjectStore(fsspec.AbstractFileSystem):
  protocol = ("gs", "gcs")
  cachable = False
  buckets = ("bucket",)
  objects: dict[str, bytes] = {}  # noqa: RUF012 (of all instances)

  def _open(self, path, mode="rb", **_):
    if mode == "wb":
      return _Growing(path)
    if mode != "rb":
      raise ValueError(f"object stores have no mode {mode!r}")
    self.info(path)
    return io.BytesIO(self.objects[path])

  def info(self, path, **_):
    path = self._strip_protocol(path)
    if path in self.objects:
      return _info(path, self.objects[path])
    if path in self.buckets or self._below(path):
      return {"name": path, "size": 0, "type": "directory"}
    raise FileNotFoundError(path)

  def ls(self, path, detail=True, **_):
    path = self._strip_protocol(path)
    entry = self.info(path)
    if entry["type"] == "directory":
      names = {path + "/" + k for k in self._below(path)}
      entries = [self.info(name) for name in sorted(names)]
    else:
      entries = [entry]
    return entries if detail else [entry["name"] for entry in entries]

  def _below(self, path):
    head = path + "/"
    return {
      key[len(head) :].partition("/")[0]
      for key in self.objects
      if key.startswith(head)
    }

  def _rm(self, path):
    self.info(path)
    self.objects.pop(self._strip_protocol(path))

  def put_file(self, lpath, rpath, **_):
    with open(lpath, "rb") as file:
      self.pipe_file(rpath, file.read())

  def mkdir(self, *_, **__):
    pass

  makedirs = mkdir

  def rmdir(self, path):
    raise FileNotFoundError(path)


def _info(path, content):
  tag = str(hash(content))
  return {"name": path, "size": len(content), "type": "file", "etag": tag}


class _Growing(io.BytesIO):
  def __init__(self, path):
    super().__init__()
    self.path = path

  def close(self):
    if not self.closed:
      ObjectStore.objects[self.path] = self.getvalue()
    super().close()


def install():
  """Empties the store and lets gs:// name it."""
  for name in ObjectStore.protocol:
    fsspec.register_implementation(name, ObjectStore, clobber=True)
  ObjectStore.objects.clear()
  return epath.Path("gs://bucket")
