"""What is odd in the data but no reason to refuse them: counted, then told.

Of each kind there are the number and where the first one is, in the form in
which the manifest holds them: {kind: {"count": 2, "first": "question 7"}}.
"""

import json
from collections.abc import Iterable

from absl import logging

from rn_jax.clevr import MAX_OBJECTS

Oddities = dict[str, dict]

# Kind -> what is said of so many.
_MEANING = {
  "contradicted_relations": "scenes list an object left, right, in front or "
  "behind of another that lies on the other side by its coordinates; were the "
  "lists exchanged?",
  "many_objects": f"scenes have more than {MAX_OBJECTS} objects; networks on "
  "state descriptions will refuse them unless --config.data.max_objects is "
  "raised",
  "missing_images": "scenes have no image and were left out, with their "
  "questions",
  "other_split": "scenes or questions are marked as of another split than the "
  "file's",
  "unknown_objects": "scenes have objects that are not CLEVR's, or that lack "
  "something; their records have the image alone",
  "program": "questions have a program that is damaged or of an unknown form; "
  "their type is unknown",
}


def note(found: Oddities, kind: str, where: str) -> None:
  """Counts one more of a kind."""
  found.setdefault(kind, {"count": 0, "first": where})["count"] += 1


def join(parts: Iterable[Oddities]) -> Oddities:
  """Adds up what was counted in the parts of a split, given in order."""
  result = {}
  for found in parts:
    for kind, more in found.items():
      known = result.setdefault(kind, {**more, "count": 0})
      known["count"] += more["count"]
  return dict(sorted(result.items()))


def tell(where: str, found: Oddities) -> None:
  """Warns of what was counted.

  Args:
    where: What was converted.
    found: What was counted there.
  """
  for kind, some in found.items():
    logging.warning(
      "%s: %d %s. The first is %s",
      where,
      some["count"],
      _MEANING[kind],
      json.dumps(some["first"]),
    )
