"""How rubber and metal reflect light, as CLEVR's Blender materials do.

Rubber: a Fresnel mix (index 1.2) of a rough coat over a mix (index 1.4) of
velvet and plain diffuse reflection. Metal: 0.4 of a rough and 0.6 of a nearly
perfect mirror, both brushed around the object's axis. The numbers are those of
the material files; the formulas are the published ones they name: Fresnel,
Beckmann, Ashikhmin's velvet (2000), GGX (Walter et al. 2007) with the
height-correlated masking of Heitz (2014).
"""

import jax.numpy as jnp
import numpy as np

from data_prep.rendering.vectors import (
  add,
  cross,
  dot,
  scale,
  subtract,
  unit,
  where,
)

MIRROR_SHARE, ROUGH_SHARE = 0.6, 0.4
_COAT_INDEX, _VELVET_INDEX = 1.2, 1.4
_COAT_ALPHA = 0.35
_COAT_COLOR = 0.8
_VELVET_SIGMA = 0.6
ROUGH_ALPHA, MIRROR_ALPHA, _ANISOTROPY = 0.2, 0.01, 0.75
ROUGH_ALPHAS, MIRROR_ALPHAS = (
  (alpha * _ANISOTROPY, alpha / _ANISOTROPY)
  for alpha in (ROUGH_ALPHA, MIRROR_ALPHA)
)
_PI = np.float32(np.pi)
_TINY = 1e-6


def fresnel(cosine, index: float):
  """Share of unpolarised light that a dielectric reflects."""
  g = jnp.sqrt(index * index - 1 + cosine * cosine)
  a = (g - cosine) / (g + cosine)
  b = (cosine * (g + cosine) - 1) / (cosine * (g - cosine) + 1)
  return 0.5 * a * a * (1 + b * b)


def rubber_weights(cosine) -> tuple:
  """Weights of coat, velvet and diffuse for the cosine of the view's angle."""
  coat = fresnel(cosine, _COAT_INDEX)
  velvet = fresnel(cosine, _VELVET_INDEX)
  return coat, (1 - coat) * velvet, (1 - coat) * (1 - velvet)


def coat(normal, view, light):
  """Reflectance of rubber's coat times the cosine of the light: Beckmann."""
  half = unit(add(view, light))
  nh = jnp.clip(dot(normal, half), _TINY, 1)
  nv = jnp.maximum(dot(normal, view), _TINY)
  nl = jnp.maximum(dot(normal, light), _TINY)
  square = nh * nh
  slope = (1 - square) / (square * _COAT_ALPHA**2)
  density = jnp.exp(-slope) / (_PI * _COAT_ALPHA**2 * square * square)
  masking = 1 / (1 + _beckmann(nv) + _beckmann(nl))
  return _COAT_COLOR * density * masking / (4 * nv)


def _beckmann(cosine):
  """Smith's Lambda, in the rational form of Walter et al."""
  sine = jnp.sqrt(jnp.maximum(1 - cosine * cosine, _TINY))
  a = jnp.minimum(cosine / (_COAT_ALPHA * sine), 1.6)
  return jnp.maximum(
    (1 - 1.259 * a + 0.396 * a * a) / (3.535 * a + 2.181 * a * a), 0
  )


def velvet(normal, view, light):
  """Reflectance of rubber's velvet, times the cosine, for white."""
  half = unit(add(view, light))
  nh = jnp.clip(dot(normal, half), _TINY, 1 - 1e-5)
  nv = jnp.maximum(dot(normal, view), _TINY)
  nl = jnp.maximum(dot(normal, light), _TINY)
  hv = jnp.maximum(dot(half, view), _TINY)
  sine = 1 - nh * nh
  inverse = 1 / _VELVET_SIGMA**2
  density = jnp.exp(-nh * nh / sine * inverse) * inverse / (_PI * sine * sine)
  masking = jnp.minimum(1, 2 * nh / hv * jnp.minimum(nl, nv))
  return 0.25 * density * masking / nv


def metal_frame(normal, offset) -> tuple:
  """Tangents around and along the object's vertical axis.

  Args:
    normal: Unit normal.
    offset: From the object's centre to the point.
  """
  x, y, _ = offset
  around = (-y, x, jnp.zeros_like(x))
  along = cross(normal, around)
  # On the axis itself there is no such direction; any other will do.
  along = where(dot(along, along) > 1e-10, along, cross(normal, (0.6, 0.8, 0)))
  along = unit(along)
  return cross(along, normal), along


def _ggx(frame, direction, cosine):
  x = dot(frame[0], direction) * ROUGH_ALPHAS[0] / cosine
  y = dot(frame[1], direction) * ROUGH_ALPHAS[1] / cosine
  return 0.5 * (jnp.sqrt(1 + x * x + y * y) - 1)


def reflect(normal, view):
  """Mirror direction of a view direction."""
  return subtract(scale(normal, 2 * dot(normal, view)), view)


def rough_reflection(frame, normal, view, cosine, sine, height) -> tuple:
  """A direction in which rough metal reflects the view, and its weight.

  Samples the visible normals (Dupuy and Benyoub 2023).

  Args:
    frame: Tangents of `metal_frame`.
    normal: Unit normal.
    view: Unit vector towards the viewer.
    cosine: Of a uniform random angle.
    sine: Of the same angle.
    height: Uniform random in (0, 1).
  """
  u, v = frame
  local = dot(u, view), dot(v, view), jnp.maximum(dot(normal, view), _TINY)
  stretched = unit(
    (local[0] * ROUGH_ALPHAS[0], local[1] * ROUGH_ALPHAS[1], local[2])
  )
  z = 1 - height * (1 + stretched[2])
  radius = jnp.sqrt(jnp.clip(1 - z * z, 0, 1))
  x, y = stretched[0] + radius * cosine, stretched[1] + radius * sine
  x, y, z = unit(
    (x * ROUGH_ALPHAS[0], y * ROUGH_ALPHAS[1], jnp.maximum(z + stretched[2], 0))
  )
  half = add(add(scale(u, x), scale(v, y)), scale(normal, z))
  light = reflect(half, view)
  nl = dot(normal, light)
  out, back = _ggx(frame, view, local[2]), _ggx(frame, light, abs(nl) + _TINY)
  weight = jnp.where(nl > 0, (1 + out) / (1 + out + back), 0)
  return light, weight
