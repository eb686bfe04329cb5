"""How images differ, and what spoils them."""

import numpy as np
from scipy.ndimage import median_filter


def psnr(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Peak signal-to-noise ratio in dB of uint8 images [B, H, W, 3], [B]."""
  square = (a.astype(float) - b) ** 2
  return 10 * np.log10(255**2 / np.maximum(square.mean((1, 2, 3)), 1e-9))


def ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Structural similarity (Wang et al. 2004) of uint8 images, [B].

  Gaussian window of 11 pixels and standard deviation 1.5; the mean over the
  places where it fits, and over the colours.
  """
  a, b = a / 255, b / 255
  offsets = np.arange(-5, 6)
  window = np.exp(-(offsets**2) / (2 * 1.5**2))
  window /= window.sum()

  def blur(images):
    for axis in (1, 2):
      moved = np.moveaxis(images, axis, -1)
      views = np.lib.stride_tricks.sliding_window_view(moved, 11, -1)
      images = np.moveaxis(views @ window, -1, axis)
    return images

  mean_a, mean_b = blur(a), blur(b)
  var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
  covariance = blur(a * b) - mean_a * mean_b
  c1, c2 = 0.01**2, 0.03**2
  similar = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
  similar /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
  return similar.mean((1, 2, 3))


def bright_pixels(images: np.ndarray) -> np.ndarray:
  """Counts isolated bright pixels of uint8 images [B, H, W, 3], [B].

  Those whose largest colour is more than 60 above the median of the 3x3 pixels
  around them.
  """
  value = images.max(-1).astype(int)
  median = median_filter(value, (1, 3, 3), mode="nearest")
  return (value - median > 60).sum((1, 2))
