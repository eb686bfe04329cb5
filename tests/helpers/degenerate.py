"""Finds relations that do not matter, by CLEVR's definition."""

from data_prep.language.programs import InvalidProgramError, SceneTable, run


def is_degenerate(program: list[dict], table: SceneTable) -> bool:
  """Whether a relation can be left out without changing the answer."""
  answer = run(program, table)[-1]
  for position, node in enumerate(program):
    if node["function"] == "relate":
      without = program.copy()
      without[position] = {"function": "scene", "inputs": []}
      try:
        if run(without, table)[-1] == answer:
          return True
      except InvalidProgramError:
        pass  # without the relation the question has no answer at all
  return False
