"""Where rays meet CLEVR's three shapes, and two more.

Every function takes the array module to compute with (numpy or jax.numpy) as
`xp`, so that the count of visible pixels and the renderer cannot disagree. A
vector is a tuple of three arrays: its coordinates are separate arrays of the
same shape. Rays and points are in the units of the object, which has half side
or radius 1 and its centre at the origin; a ray's direction need not be of unit
length, and distances are in units of it.

The shapes, as measured on CLEVR's meshes: the sphere; the cube, whose faces are
flat up to 0.75 and whose edges are rounded by a 3-norm of radius 0.25; the
cylinder, whose rim is rounded by a 4-norm of radius 0.1.

The other two are of our own: the cone stands on its base of radius 1 and is 2
high; the capsule is an upright cylinder of radius 0.6 with half balls as ends,
2 high as well. Both have edges and surfaces without rounding.
"""

# Here and below in this order, which begins with that of rn_jax.clevr.SHAPES.
SOLIDS = ("sphere", "cube", "cylinder", "cone", "capsule")
NUM_CLEVR = 3

# Radius of the sphere around each shape: the cube's corner lies at
# 0.75 + 0.25 / 3 ** (1 / 3) on every axis, the cylinder's rim at
# 0.9 + 0.1 / 2 ** (1 / 4).
BOUNDING_RADIUS = (1.0, 1.5994, 1.3918, 1.4143, 1.0)

_FLAT_CUBE, _FLAT_CYLINDER = 0.75, 0.9
_RIM = 1 - _FLAT_CYLINDER**2
STEPS = 3  # of Newton's method
# A ray that comes so near to the surface (the implicit function's excess over
# 1, which is some 1e-3 of the object's size) has met it.
TOLERANCE = 0.02
_TINY = 1e-9
CAPSULE_RADIUS = 0.6
_CAPSULE_HALF = 1 - CAPSULE_RADIUS  # of the straight part's height


def to_object(origin, direction, center, scale, cosine, sine):
  """Turns world rays into the units of an object rotated about the z axis."""
  x, y, z = (o - c for o, c in zip(origin, center, strict=True))
  dx, dy, dz = direction
  inverse = 1 / scale
  cosine, sine = cosine * inverse, sine * inverse
  return (
    (cosine * x + sine * y, cosine * y - sine * x, z * inverse),
    (cosine * dx + sine * dy, cosine * dy - sine * dx, dz * inverse),
  )


def to_world(vector, cosine, sine):
  """Turns a direction from object to world axes."""
  x, y, z = vector
  return cosine * x - sine * y, sine * x + cosine * y, z


def enter_sphere(origin, direction, xp):
  """Distance at which rays from outside enter the sphere; inf for a miss."""
  along = _dot(origin, direction)
  inverse = 1 / _dot(direction, direction)
  middle = -along * inverse
  nearest = _advance(origin, direction, middle)
  # 1 - nearest², not the discriminant: no cancellation for far origins.
  gap = 1 - _dot(nearest, nearest)
  distance = middle - xp.sqrt(xp.maximum(gap, 0) * inverse)
  return xp.where((gap > 0) & (distance > 0), distance, xp.inf)


def enter_cube(origin, direction, xp):
  """Distance at which rays from outside enter the cube; inf for a miss."""
  return _enter_rounded(box_cube, excess_cube, origin, direction, xp)


def enter_cylinder(origin, direction, xp):
  """Distance at which rays from outside enter the cylinder; inf: a miss."""
  return _enter_rounded(box_cylinder, excess_cylinder, origin, direction, xp)


def enter_cone(origin, direction, xp):
  """Distance at which rays from outside enter the cone; inf for a miss."""
  # From the point nearest to the centre on, numbers are small.
  start = -_dot(origin, direction) / _dot(direction, direction)
  (x, y, z), (dx, dy, dz) = _advance(origin, direction, start), direction
  w, dw = (1 - z) / 2, -dz / 2  # the radius at that height
  a = dx * dx + dy * dy - dw * dw
  b = x * dx + y * dy - w * dw
  square = b * b - a * (x * x + y * y - w * w)
  # Both roots, without differences of like numbers.
  half = xp.sqrt(xp.maximum(square, 0))
  half = -b - xp.where(b < 0, -half, half)
  one = half / _not_zero(a, xp)
  other = (x * x + y * y - w * w) / _not_zero(half, xp)
  low, high = xp.minimum(one, other), xp.maximum(one, other)
  # Flat rays are inside between the roots; steep ones behind the later one on
  # their way down, and before the earlier one on their way up.
  flat = a > 0
  near = xp.where(flat, low, xp.where(dw > 0, high, -xp.inf))
  far = xp.where(flat, high, xp.where(dw > 0, xp.inf, low))
  upper = flat & (w + dw * (low + high) / 2 < 0)  # of its mirror image
  base = (1 - w) / _not_zero(dw, xp)
  near = xp.where(dw > 0, near, xp.maximum(near, base))
  far = xp.where(dw > 0, xp.minimum(far, base), far)
  met = (square >= 0) & ~upper & (near < far) & (near + start > 0)
  return xp.where(met, near + start, xp.inf)


def enter_capsule(origin, direction, xp):
  """Distance at which rays from outside enter the capsule; inf: a miss."""
  scaled = tuple(d / CAPSULE_RADIUS for d in direction)
  best = xp.inf
  for end in (-_CAPSULE_HALF, _CAPSULE_HALF):
    x, y, z = (o / CAPSULE_RADIUS for o in origin)
    ball = (x, y, z - end / CAPSULE_RADIUS)
    best = xp.minimum(best, enter_sphere(ball, scaled, xp))
  # The straight part: a circle seen from above.
  (x, y, z), (dx, dy, dz) = origin, direction
  inverse = 1 / xp.maximum(dx * dx + dy * dy, _TINY)
  middle = -(x * dx + y * dy) * inverse
  nx, ny = x + middle * dx, y + middle * dy
  gap = CAPSULE_RADIUS**2 - nx * nx - ny * ny
  distance = middle - xp.sqrt(xp.maximum(gap, 0) * inverse)
  side = abs(z + distance * dz) <= _CAPSULE_HALF
  met = (gap > 0) & side & (distance > 0)
  return xp.minimum(best, xp.where(met, distance, xp.inf))


def _not_zero(number, xp):
  return xp.where(abs(number) < _TINY, _TINY, number)


ENTER = (enter_sphere, enter_cube, enter_cylinder, enter_cone, enter_capsule)


def _enter_rounded(box, excess, origin, direction, xp):
  near, far = box(origin, direction, xp)
  distance = near
  for _ in range(STEPS):
    over, slope, gain = excess(origin, direction, distance, xp)
    distance = step(distance, over, slope, gain, xp)
  over, _, _ = excess(origin, direction, distance, xp)
  return xp.where((near < far) & (over < TOLERANCE), distance, xp.inf)


def step(distance, over, slope, gain, xp):
  """Newton's: goes on where the surface is ahead, stays where it recedes."""
  ahead = (over > 0) & (slope < 0)
  return distance - xp.where(ahead, gain / xp.where(ahead, slope, 1), 0)


def box_cube(origin, direction, xp):
  """Distances at which rays enter and leave the cube with sharp edges."""
  near, far = 0.0, xp.inf
  for o, d in zip(origin, direction, strict=True):
    inverse = 1 / xp.where(abs(d) < _TINY, _TINY, d)
    middle, half = -o * inverse, abs(inverse)
    near = xp.maximum(near, middle - half)
    far = xp.minimum(far, middle + half)
  return near, far


def excess_cube(origin, direction, distance, xp):
  """The implicit function there, less 1; its slope; Newton's gain.

  The function is u, the cube of the 3-norm. Newton's method on the norm itself
  has the gain 3 (u - u^(2/3)); the first terms of its series at u = 1 stay
  below it, so that no step overshoots.
  """
  over, slope = -1.0, 0.0
  for o, d in zip(origin, direction, strict=True):
    p = o + distance * d
    e = (xp.maximum(abs(p), _FLAT_CUBE) - _FLAT_CUBE) * 4
    square = e * e
    over = over + square * e
    slope = slope + square * xp.where(p < 0, -d, d)
  return over, 12 * slope, over * (1 + over * (1 / 3 - 4 / 27 * over))


def box_cylinder(origin, direction, xp):
  """Distances at which rays enter and leave the cylinder with a sharp rim."""
  (x, y, z), (dx, dy, dz) = origin, direction
  square = xp.maximum(dx * dx + dy * dy, _TINY)
  gap = square - (x * dy - y * dx) * (x * dy - y * dx)
  inverse = 1 / square
  middle, half = -(x * dx + y * dy) * inverse, xp.sqrt(abs(gap)) * inverse
  inverse = 1 / xp.where(abs(dz) < _TINY, _TINY, dz)
  level, thick = -z * inverse, abs(inverse)
  near = xp.maximum(xp.maximum(middle - half, level - thick), 0)
  far = xp.minimum(middle + half, level + thick)
  return near, xp.where(gap > 0, far, -1)


def excess_cylinder(origin, direction, distance, xp):
  """As `excess_cube`, with u the fourth power of a 4-norm: 4 (u - u^(3/4)).

  The radius enters by its square, which spares a root: along the rim that is
  off by 0.0013 at most.
  """
  (dx, dy, dz), (x, y, z) = direction, _advance(origin, direction, distance)
  er = _rim(x * x + y * y, xp)
  ez = (xp.maximum(abs(z), _FLAT_CYLINDER) - _FLAT_CYLINDER) * 10
  er3, ez3 = er * er * er, ez * ez * ez
  over = er3 * er + ez3 * ez - 1
  slope = er3 * (x * dx + y * dy) * (2 / _RIM)
  slope = 4 * (slope + 10 * ez3 * xp.where(z < 0, -dz, dz))
  return over, slope, over * (1 + over * (3 / 8 - 5 / 32 * over))


def _rim(square, xp):
  """0 where the cylinder's top is flat, 1 at its full radius."""
  flat = _FLAT_CYLINDER**2
  return (xp.maximum(square, flat) - flat) * (1 / _RIM)


def normal_sphere(point, xp):
  """Outward direction at a point of the surface, not of unit length."""
  del xp
  return point


def normal_cube(point, xp):
  """Outward direction at a point of the surface, not of unit length."""

  def component(p):
    e = xp.maximum(abs(p), _FLAT_CUBE) - _FLAT_CUBE
    return 16 * e * e * xp.where(p < 0, -1.0, 1.0)

  return tuple(component(p) for p in point)


def normal_cylinder(point, xp):
  """Outward direction at a point of the surface, not of unit length."""
  x, y, z = point
  er = _rim(x * x + y * y, xp)
  ez = (xp.maximum(abs(z), _FLAT_CYLINDER) - _FLAT_CYLINDER) * 10
  around = er * er * er * (2 / _RIM)
  return around * x, around * y, 10 * ez * ez * ez * xp.where(z < 0, -1.0, 1.0)


def normal_cone(point, xp):
  """Outward direction at a point of the surface, not of unit length."""
  x, y, z = point
  radius = xp.sqrt(x * x + y * y)
  on_base = (1 - z) / 2 - radius > z + 1  # that is nearer than the side
  side = x, y, radius / 2 + _TINY
  down = 0.0, 0.0, -1.0
  return tuple(xp.where(on_base, d, s) for d, s in zip(down, side, strict=True))


def normal_capsule(point, xp):
  """Outward direction at a point of the surface, not of unit length."""
  x, y, z = point
  return x, y, z - xp.clip(z, -_CAPSULE_HALF, _CAPSULE_HALF)


NORMAL = (
  normal_sphere,
  normal_cube,
  normal_cylinder,
  normal_cone,
  normal_capsule,
)


def _advance(origin, direction, distance):
  return tuple(o + distance * d for o, d in zip(origin, direction, strict=True))


def _dot(a, b):
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
