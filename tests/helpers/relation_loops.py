"""Relations of objects in NumPy, number by number, in double precision."""

import numpy as np


def random_boxes(rng: np.random.Generator, *shape: int) -> np.ndarray:
  center = rng.uniform(0.2, 0.8, (*shape, 2))
  half = rng.uniform(0.02, 0.2, (*shape, 2))
  return np.concatenate([center - half, center + half], -1).astype(np.float32)


def geometry_of_pair(query, key, geometry, denominator):
  numbers = []
  for axis in range(2):
    query_size = float(query[axis + 2]) - float(query[axis])
    key_size = float(key[axis + 2]) - float(key[axis])
    offset = (float(query[axis]) + float(query[axis + 2])) / 2
    offset -= (float(key[axis]) + float(key[axis + 2])) / 2
    offset /= query_size if denominator == "query" else key_size
    if geometry == "log_abs":
      numbers.append(np.log(max(abs(offset), 1e-3)))
    else:
      numbers.append(np.sign(offset) * np.log(1 + abs(offset)))
    numbers.append(np.log(query_size / key_size))
  return [numbers[i] for i in (0, 2, 1, 3)]


def embed(numbers, width):
  embedded = []
  for number in numbers:
    angles = [
      100 * number / 1000 ** (i / (width // 8)) for i in range(width // 8)
    ]
    embedded += [np.sin(a) for a in angles] + [np.cos(a) for a in angles]
  return np.array(embedded)


def softmax(x):
  e = np.exp(x - np.max(x))
  return e / e.sum()


def object_relation(params, scene, sources, module):
  """One scene: returns the objects [N, F] and the weights [R, N, M]."""
  relations, width = module.num_relations, module.key_width
  p = {
    name: {k: np.asarray(v, float) for k, v in layer.items()}
    for name, layer in params.items()
  }
  count, features = scene.objects.shape
  each = features // relations
  weights = np.zeros((relations, count, len(sources.objects)))
  out = np.zeros((count, features))
  there = [m for m in range(len(sources.objects)) if sources.mask[m]]
  for n in range(count):
    if not scene.mask[n]:
      continue
    out[n] = scene.objects[n]
    for r in range(relations):
      part, logits, values = slice(r * width, (r + 1) * width), [], []
      query = scene.objects[n] @ p["query"]["kernel"] + p["query"]["bias"]
      for m in there:
        key = sources.objects[m] @ p["key"]["kernel"] + p["key"]["bias"]
        logit = query[part] @ key[part] / np.sqrt(width)
        if module.geometry is not None:
          embedded = embed(
            geometry_of_pair(
              scene.boxes[n],
              sources.boxes[m],
              module.geometry,
              module.denominator,
            ),
            module.geometry_width,
          )
          g = (
            embedded @ p["geometry"]["kernel"][:, r] + p["geometry"]["bias"][r]
          )
          logit += np.log(max(g, 1e-6))
        logits.append(logit)
        value = sources.objects[m] @ p["value"]["kernel"] + p["value"]["bias"]
        values.append(value[r * each : (r + 1) * each])
      if there:
        weights[r, n, there] = softmax(np.array(logits))
        out[n, r * each : (r + 1) * each] += weights[r, n, there] @ values
  return out, weights
