"""Images of every kind become what a viewer shows of them, or an error."""

import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from rn_jax.data.images import (
  ImageError,
  opened,
  read_content,
  read_image,
  to_rgb,
)

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 8, 3), np.uint8)
GREY = RNG.integers(0, 2**16, (6, 8)).astype(np.uint16)
ORIENTATION = 0x0112


def content_of(image, kind="PNG", **options):
  file = io.BytesIO()
  image.save(file, kind, **options)
  return file.getvalue()


def png_of_16_bits(pixels):
  """Returns a PNG of 16 bits per color, which Pillow reads but not writes."""

  def chunk(name, data):
    data = name + data
    return struct.pack(
      f">I{len(data)}sI", len(data) - 4, data, zlib.crc32(data)
    )

  height, width, _ = pixels.shape
  rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
  header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
  return b"\x89PNG\r\n\x1a\n" + b"".join(
    (
      chunk(b"IHDR", header),
      chunk(b"IDAT", zlib.compress(rows)),
      chunk(b"IEND", b""),
    )
  )


@pytest.mark.parametrize(
  "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"]
)
def test_eight_bits_are_as_pillow_converts_them(mode):
  image = Image.fromarray(PIXELS).convert(mode)
  expected = np.asarray(image.convert("RGB"))
  np.testing.assert_array_equal(to_rgb(image, 0), expected)
  kind = "TIFF" if mode in ("CMYK", "YCbCr") else "PNG"
  found = read_image(content_of(image, kind))
  np.testing.assert_array_equal(found, expected)
  assert found.dtype == np.uint8


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_transparency_is_ignored(mode):
  image = Image.fromarray(PIXELS).convert(mode)
  expected = np.asarray(image.convert("RGB"))
  if mode == "P":
    content = content_of(image, transparency=bytes(256))
  else:
    image.putalpha(0)
    content = content_of(image)
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    np.testing.assert_array_equal(read_image(content), expected)


@pytest.mark.parametrize(
  ("mode", "kind"),
  [("I;16", "PNG"), ("I;16", "TIFF"), ("I;16B", "TIFF"), ("I;16L", "TIFF")],
)
def test_sixteen_bit_grey_is_scaled(mode, kind):
  order = ">u2" if mode == "I;16B" else "<u2"
  image = Image.frombytes(mode, (8, 6), GREY.astype(order).tobytes())
  expected = np.repeat(GREY[..., None] >> 8, 3, -1)
  np.testing.assert_array_equal(read_image(content_of(image, kind)), expected)


def test_sixteen_bit_colors_are_scaled_alike():
  pixels = RNG.integers(0, 2**16, (6, 8, 3))
  np.testing.assert_array_equal(read_image(png_of_16_bits(pixels)), pixels >> 8)


def test_thirty_two_bits_by_what_is_in_them():
  grey = np.repeat(GREY[..., None], 3, -1)
  image = Image.fromarray(GREY.astype(np.int32))
  assert image.mode == "I"
  np.testing.assert_array_equal(to_rgb(image, 0), grey >> 8)
  image = Image.fromarray((GREY >> 8).astype(np.int32))
  np.testing.assert_array_equal(to_rgb(image, 0), grey >> 8)
  for pixels in (GREY.astype(np.int32) - 1000, GREY.astype(np.int32) * 100):
    with pytest.raises(ImageError, match="mode I,"):
      to_rgb(Image.fromarray(pixels), 0)


def test_unknown_ranges_are_refused(tmp_path):
  path = tmp_path / "depth.tif"
  Image.fromarray(GREY.astype(np.float32)).save(path)
  with pytest.raises(ImageError, match=r"depth\.tif: .* mode F,"):
    read_image(path)
  with pytest.raises(ImageError, match="mode La,"):
    to_rgb(Image.new("La", (3, 3)), 0)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(10))
def test_images_are_turned_as_viewers_do(kind, orientation):
  exif = Image.Exif()
  exif[ORIENTATION] = orientation
  options = {"lossless": True} if kind == "WEBP" else {}
  image = Image.fromarray(PIXELS)
  found = read_image(content_of(image, kind, exif=exif, **options))
  expected = {
    2: PIXELS[:, ::-1],
    3: PIXELS[::-1, ::-1],
    4: PIXELS[::-1],
    5: PIXELS.swapaxes(0, 1),
    6: np.rot90(PIXELS, -1),
    7: np.rot90(PIXELS, 2).swapaxes(0, 1),
    8: np.rot90(PIXELS),
  }.get(orientation, PIXELS)
  np.testing.assert_array_equal(found, expected)


def test_damaged_orientation_leaves_an_image_readable():
  content = content_of(Image.fromarray(PIXELS), exif=b"Exif\0\0no TIFF header")
  np.testing.assert_array_equal(read_image(content), PIXELS)


def test_images_are_turned_before_they_are_resized():
  exif = Image.Exif()
  exif[ORIENTATION] = 6
  found = read_image(content_of(Image.fromarray(PIXELS), exif=exif), 4)
  turned = Image.fromarray(np.ascontiguousarray(np.rot90(PIXELS, -1)))
  expected = turned.resize((4, 4), Image.Resampling.BILINEAR)
  np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
  "error",
  [
    *(EOFError(), IndexError("x"), OSError("x"), struct.error("x")),
    *(SyntaxError("x"), ValueError("x"), Image.DecompressionBombError("x")),
  ],
  ids=repr,
)
def test_whatever_pillow_raises_names_the_file(tmp_path, monkeypatch, error):
  def fail(*_):
    raise error

  path = tmp_path / "a.png"
  path.write_bytes(content_of(Image.fromarray(PIXELS)))
  monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
  with pytest.raises(ImageError, match=r"a\.png: not a readable image \(.+\)"):
    read_image(path)


def test_damaged_files_and_missing_ones(tmp_path):
  whole = content_of(Image.fromarray(PIXELS))
  for content in (whole[:-30], whole[:30], b"", b"no image"):
    with pytest.raises(ImageError, match="here: not a readable image"):
      read_image(content, name="here")
  with pytest.raises(FileNotFoundError):
    read_image(tmp_path / "missing.png")
  with pytest.raises(ImageError, match="no format"), opened(b"text", "here"):
    pass


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_only_regular_files_are_opened(tmp_path, kind):
  path = tmp_path / "a.png"
  match kind:
    case "pipe":
      os.mkfifo(path)  # nobody writes to it: to read it would take for ever
    case "folder":
      path.mkdir()
    case "device":
      path.symlink_to("/dev/zero")
  for read in (read_image, read_content):
    with pytest.raises(ImageError, match=r"a\.png: .*no regular file"):
      read(path)


def test_links_are_followed_unless_they_lead_nowhere(tmp_path):
  Image.fromarray(PIXELS).save(tmp_path / "a.png")
  for name, target in (("good", "a.png"), ("bad", "b.png"), ("loop", "loop")):
    (tmp_path / name).symlink_to(target)
  np.testing.assert_array_equal(read_image(tmp_path / "good"), PIXELS)
  for name in ("bad", "loop"):
    with pytest.raises(OSError, match=name):
      read_image(tmp_path / name)
