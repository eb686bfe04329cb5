"""The facts of the data set CLEVR that every part of the project agrees on.

Sources: "CLEVR: A Diagnostic Dataset for Compositional Language and Elementary
Visual Reasoning" (Johnson et al., CVPR 2017) for what objects and questions
there are; its public generator, clevr-dataset-gen, for sizes, colours and
limits; the released scenes for the directions. Attributes are in the order of
the reference implementation of Relation Networks: its state descriptions hold
the list index + 1, so published weights depend on it.
"""

import re
from collections.abc import Mapping, Sequence

# Bytes of each colour, which the generator takes as linear light, not as sRGB.
RGB = {
  "cyan": (41, 208, 208),
  "blue": (42, 75, 215),
  "yellow": (255, 238, 51),
  "purple": (129, 38, 192),
  "red": (173, 35, 35),
  "green": (29, 105, 20),
  "gray": (87, 87, 87),
  "brown": (129, 74, 25),
}
# Half the side of a cube, radius of the others, and height of all centres; in
# world units.
RADIUS = {"large": 0.7, "small": 0.35}

COLORS = tuple(RGB)
MATERIALS = ("rubber", "metal")
SHAPES = ("sphere", "cube", "cylinder")
SIZES = tuple(RADIUS)

MAX_OBJECTS = 10  # of a scene
MIN_VISIBLE_PIXELS = 200  # of each object in a picture
WIDTH, HEIGHT = 480, 320  # of the pictures, in pixels

# In the order in which a state description lists them, after x, y, z.
ATTRIBUTES = {
  "color": COLORS,
  "material": MATERIALS,
  "shape": SHAPES,
  "size": SIZES,
}

RELATIONS = ("left", "right", "front", "behind")

# Unit vectors in the world, the same in all scenes, whose cameras hardly move.
# As the released scenes have them, rounding of single precision included.
RIGHT = (0.6563112735748291, 0.7544902563095093, 0.0)
BEHIND = (-0.754490315914154, 0.6563112735748291, 0.0)
DIRECTIONS = {
  "right": [*RIGHT],
  "behind": [*BEHIND],
  "above": [0.0, 0.0, 1.0],
  "left": [-RIGHT[0], -RIGHT[1], 0.0],
  "front": [-BEHIND[0], -BEHIND[1], 0.0],
  "below": [0.0, 0.0, -1.0],
}

# The camera looks at the origin, upright, from this point, of which each
# coordinate is moved by up to half a unit from scene to scene; through a 35 mm
# lens on a sensor 32 mm wide.
CAMERA_POSITION = (7.481131553649902, -6.5076398849487305, 5.34366512298584)
CAMERA_TAN_X = 16 / 35  # tangent of half the horizontal angle of view
CAMERA_TAN_Y = CAMERA_TAN_X * HEIGHT / WIDTH
CAMERA_NEAREST = 0.1  # what is closer is not in the picture; in world units

ANSWER_CLASSES = {
  "number": tuple(str(n) for n in range(MAX_OBJECTS + 1)),
  "material": MATERIALS,
  "color": COLORS,
  "shape": SHAPES,
  "size": SIZES,
  "exist": ("yes", "no"),
}

ANSWERS = tuple(a for names in ANSWER_CLASSES.values() for a in names)

# All words and answers of CLEVR's questions, in the order of their first
# appearance in the train split. Published weights number them so.
WORDS_AS_THEY_APPEAR = tuple(
  """
  are there more big green things than large purple shiny cubes ? how many
  other of the same shape as tiny cyan matte object is color sphere cube what
  material that right brown cylinder and left gray on side small rubber behind
  thing to metallic size any have block blue yellow a ; it ball its in front
  does number red spheres made metal cylinders both balls or blocks objects
  visible another has greater fewer less either anything else do an equal
  """.split()  # noqa: SIM905 (as a list it takes a screen)
)
ANSWERS_AS_THEY_APPEAR = tuple(
  """
  yes 2 no rubber large 0 sphere gray cube blue brown 1 yellow purple cylinder
  small green metal 3 4 cyan 6 red 5 8 7 9 10
  """.split()  # noqa: SIM905 (as a list it takes a screen)
)

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


def is_mark(word: str) -> bool:
  """Returns whether one of `tokenize`'s words is a punctuation mark."""
  return _PUNCTUATION.fullmatch(word) is not None


def answer_class(
  answer: str, classes: Mapping[str, Sequence[str]] = ANSWER_CLASSES
) -> str:
  """Returns the class (a key of ANSWER_CLASSES) that an answer belongs to.

  Args:
    answer: The answer.
    classes: The answers of each class; those of CLEVR, or more.

  Raises:
    ValueError: The word is no CLEVR answer.
  """
  for name, answers in classes.items():
    if answer in answers:
      return name
  if answer.isdecimal():
    raise ValueError(
      f"{answer!r} is no answer of CLEVR's, whose counts end at {MAX_OBJECTS}; "
      "leave the question out"
    )
  number = sum(map(len, classes.values()))
  raise ValueError(f"{answer!r} is not one of CLEVR's {number} answers")


def question_type(function: str) -> str:
  """Returns the question type (a key of QUESTION_TYPES) of a function.

  Raises:
    ValueError: The function cannot end a CLEVR program.
  """
  for name, functions in QUESTION_TYPES.items():
    if function in functions:
      return name
  raise ValueError(f"{function!r} does not end a CLEVR program")


def template_file(family: str) -> str:
  """Returns the template file of a question family: zero_hop of zero_hop/3.

  Empty where the name does not tell, as in data of others.
  """
  name, slash, _ = family.partition("/")
  return name if slash else ""
