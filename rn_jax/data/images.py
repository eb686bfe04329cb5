"""Images as the networks read them."""

from PIL import Image


def to_rgb(image: Image.Image, size: int) -> Image.Image:
  """Returns an image as the reference prepares it.

  Any mode becomes RGB of 8 bits per color first; transparency is ignored. Then
  both sides become `size`, whatever their proportion was (CLEVR's images are
  480x320), by bilinear interpolation with antialiasing. Networks divide by 255
  themselves; nothing else is normalised.

  Args:
    image: Any mode and size.
    size: Width and height in pixels; 0 keeps the image's own.
  """
  image = image.convert("RGB")
  if size and image.size != (size, size):
    image = image.resize((size, size), Image.Resampling.BILINEAR)
  return image
