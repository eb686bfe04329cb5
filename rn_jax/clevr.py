"""The facts of CLEVR that every part of the project agrees on.

Attribute orders are those of the reference implementation: its state
descriptions use the list index + 1, so published weights depend on them.
"""

import re

COLORS = ("cyan", "blue", "yellow", "purple", "red", "green", "gray", "brown")
MATERIALS = ("rubber", "metal")
SHAPES = ("sphere", "cube", "cylinder")
SIZES = ("large", "small")

# In the order in which a state description lists them, after x, y, z.
ATTRIBUTES = {
  "color": COLORS,
  "material": MATERIALS,
  "shape": SHAPES,
  "size": SIZES,
}

RELATIONS = ("left", "right", "front", "behind")

ANSWER_CLASSES = {
  "number": tuple(str(n) for n in range(11)),
  "material": MATERIALS,
  "color": COLORS,
  "shape": SHAPES,
  "size": SIZES,
  "exist": ("yes", "no"),
}

ANSWERS = tuple(a for names in ANSWER_CLASSES.values() for a in names)

# A question's type follows from its answering function, the last one of its
# program.
QUESTION_TYPES = {
  "count": ("count",),
  "exist": ("exist",),
  "compare_number": ("equal_integer", "less_than", "greater_than"),
  "query_attribute": tuple(f"query_{name}" for name in ATTRIBUTES),
  "compare_attribute": tuple(f"equal_{name}" for name in ATTRIBUTES),
}

# Functions that can end a program, in a fixed order: records store the index.
ANSWER_FUNCTIONS = tuple(f for fs in QUESTION_TYPES.values() for f in fs)

_PUNCTUATION = re.compile(r"([.,;:!?()])")


def tokenize(question: str) -> list[str]:
  """Splits a question into lower-case words and punctuation marks."""
  return _PUNCTUATION.sub(r" \1 ", question.lower()).split()


def answer_class(answer: str) -> str:
  """Returns the class (a key of ANSWER_CLASSES) that an answer belongs to.

  Raises:
    ValueError: The word is no CLEVR answer.
  """
  for name, answers in ANSWER_CLASSES.items():
    if answer in answers:
      return name
  raise ValueError(f"{answer!r} is not one of CLEVR's {len(ANSWERS)} answers")


def question_type(function: str) -> str:
  """Returns the question type (a key of QUESTION_TYPES) of a function.

  Raises:
    ValueError: The function cannot end a CLEVR program.
  """
  for name, functions in QUESTION_TYPES.items():
    if function in functions:
      return name
  raise ValueError(f"{function!r} does not end a CLEVR program")
