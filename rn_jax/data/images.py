"""The one place that opens images and makes of each what networks read."""

import contextlib
import io
import os
import stat
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from rn_jax.host.paths import is_address, place

# Modes of at most 8 bits per color, which Pillow turns into RGB.
_EIGHT_BITS = (
  *("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa"),
  *("CMYK", "YCbCr", "HSV", "LAB"),
)
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")


class ImageError(ValueError):
  """An image cannot be read, or nobody can say what its numbers mean."""


@contextlib.contextmanager
def opened(
  file: str | os.PathLike | bytes,
  name: str | None = None,
  formats: tuple[str, ...] | None = None,
) -> Iterator[Image.Image]:
  """Opens an image; what Pillow raises inside the block becomes an ImageError.

  Args:
    file: Path or content of a file.
    name: What to call it in an error; not given: its path.
    formats: Pillow's names of those to try; None: all that it knows.

  Raises:
    ImageError: Naming the file.
    OSError: There is no such file.
  """
  where = "image in memory" if isinstance(file, bytes) else file
  with (
    io.BytesIO(file) if isinstance(file, bytes) else _open_regular(file)
  ) as stream:
    try:
      with Image.open(stream, formats=formats) as image:
        yield image
    except Exception as error:  # A damaged file can raise nearly anything.
      reason = str(error).replace(repr(stream), "it") or repr(error)
      if isinstance(error, UnidentifiedImageError):
        reason = "of no format that Pillow knows"
        if formats:
          reason = f"its format is none of {', '.join(formats)}"
      raise ImageError(
        f"{name or where}: not a readable image ({reason})"
      ) from error


def read_content(path: str | os.PathLike) -> bytes:
  """Returns the bytes of an image file; raises as `opened` does."""
  with _open_regular(path) as file:
    return file.read()


def _open_regular(path: str | os.PathLike) -> BinaryIO:
  path = place(path)
  if is_address(path):
    return io.BytesIO(path.read_bytes())
  # Pipes and devices would be waited for, maybe for ever.
  if not stat.S_ISREG(path.stat().st_mode):
    raise ImageError(f"{path}: not a readable image (it is no regular file)")
  return path.open("rb")


def read_image(
  file: str | os.PathLike | bytes, size: int = 0, name: str | None = None
) -> np.ndarray:
  """Reads an image as networks do: [size, size, 3] uint8, see `to_rgb`."""
  with opened(file, name) as image:
    return np.asarray(to_rgb(image, size))


def pixels_of(
  picture: str | os.PathLike | Image.Image | Mapping, size: int
) -> np.ndarray:
  """Returns what a network from pixels reads of a file or a Pillow image.

  Args:
    picture: A description of a scene is refused.
    size: Width and height in pixels.

  Returns:
    [size, size, 3] uint8.

  Raises:
    ValueError: It is no image.
    OSError: There is no such file.
  """
  if isinstance(picture, Mapping):
    raise ValueError("this network reads pixels: give an image, not a scene")
  if isinstance(picture, Image.Image):
    return np.asarray(to_rgb(picture, size))
  return read_image(picture, size)


def to_rgb(image: Image.Image, size: int) -> Image.Image:
  """Returns an image as the reference prepares it.

  It is first turned upright, as a viewer shows it, and becomes RGB of 8 bits
  per color; transparency is ignored. Then both sides become `size`, whatever
  their proportion was (CLEVR's images are 480x320), by bilinear interpolation
  with antialiasing. Networks divide by 255 themselves; nothing else is
  normalised.

  Args:
    image: Any size; any mode of 8 or 16 bits per color.
    size: Width and height in pixels; 0 keeps the image's own.

  Raises:
    ImageError: The range of the pixels' numbers is not known.
  """
  image = _eight_bits(upright(image))
  if size and image.size != (size, size):
    image = image.resize((size, size), Image.Resampling.BILINEAR)
  return image


def upright(image: Image.Image) -> Image.Image:
  """Returns the image itself, or turned where its EXIF data ask for it."""
  image.load()  # Pillow turns TIFF files here already.
  try:
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
  except Exception:  # Damaged EXIF data leave the pixels as good as they are.
    return image
  return ImageOps.exif_transpose(image) if orientation in range(2, 9) else image


def _eight_bits(image: Image.Image) -> Image.Image:
  mode = image.mode
  if mode == "P" and "transparency" in image.info:
    image = image.convert("RGBA")  # else Pillow warns that it is left out
  if mode in _EIGHT_BITS:
    return image.convert("RGB")
  if mode in _SIXTEEN_BITS or mode == "I":
    pixels = np.asarray(image)
    if pixels.min() >= 0 and pixels.max() < 2**16:
      # Mode I has room for 32 bits; what is in it shows how many are used.
      if mode != "I" or pixels.max() >= 2**8:
        pixels = pixels >> 8  # what Pillow does with 16-bit colors
      return Image.fromarray(pixels.astype(np.uint8)).convert("RGB")
  raise ImageError(
    f"pixels of Pillow's mode {mode}, whose black and white are not known; "
    "save it with 8 or 16 bits per color"
  )
