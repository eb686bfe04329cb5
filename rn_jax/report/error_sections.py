"""The sections of a report that say where one network errs."""

import numpy as np

from rn_jax.clevr import template_file
from rn_jax.plots.rates import draw_calibration, draw_rates
from rn_jax.plots.scene_view import draw_scene
from rn_jax.report import analysis
from rn_jax.report.answered import Answered
from rn_jax.report.blocks import (
  Gallery,
  Mistake,
  Mistakes,
  Picture,
  Section,
  Table,
  Text,
)

_FAMILIES = 12
_MISTAKES = 12
_WORDS, _FUNCTIONS = 5, 2  # counted together


def error_sections(answered: Answered) -> list[Section]:
  """Returns the sections: by what, which families, how sure, and examples."""
  return [
    _rates_section(answered),
    _families_section(answered),
    _calibration_section(answered),
    _mistakes_section(answered),
  ]


def _rates_section(answered: Answered) -> Section:
  correct = answered.correct
  templates = [template_file(str(name)) for name in answered.dataset.family]
  by = {
    "template file": sorted(
      analysis.rates_by_name(templates, correct), key=lambda r: r.accuracy
    ),
    "objects in the scene": analysis.rates_by_value(
      answered.objects(), correct
    ),
    "words in the question": analysis.rates_by_value(
      answered.words, correct, _WORDS
    ),
    "functions in the program": analysis.rates_by_value(
      answered.program_lengths(), correct, _FUNCTIONS
    ),
    "number to count": analysis.rates_by_value(
      answered.right_number(), correct
    ),
  }
  pictures = [
    Picture(f"by-{name.replace(' ', '-')}", f"By {name}", draw_rates(rates))
    for name, rates in by.items()
    if rates
  ]
  missing = [name for name, rates in by.items() if not rates]
  notes = ["Lines are 95 % intervals by Wilson's score."]
  if missing:
    notes.append(f"The records do not tell: {', '.join(missing)}.")
  return Section("Where it errs", [Text(" ".join(notes)), Gallery(pictures)])


def _families_section(answered: Answered) -> Section:
  correct, family = answered.correct, answered.dataset.family
  rates = analysis.rates_by_name(family, correct)
  mistakes = max(int((~correct).sum()), 1)
  lines = []
  for rate in analysis.worst(rates, _FAMILIES):
    file, _, index = rate.name.rpartition("/")
    example = int(np.flatnonzero(family == rate.name)[0])
    low, high = rate.bounds
    lines.append(
      [
        f"{file.replace('_', ' ')} {index}".strip(),
        f"{100 * rate.accuracy:.1f}",
        f"{100 * low:.1f}–{100 * high:.1f}",
        f"{rate.count:,}",
        f"{100 * (rate.count - rate.right) / mistakes:.1f}",
        answered.text(example),
      ]
    )
  head = ["family", "right %", "95 % interval", "questions"]
  head += ["% of all mistakes", "for example"]
  if not lines:
    return Section(
      "Worst families of questions",
      [Text("The records do not say of which family questions are.")],
    )
  return Section(
    "Worst families of questions",
    [
      Text(
        f"Of {len(rates)} families the {len(lines)} whose intervals end lowest,"
        " so that few questions alone make none of them bad. A family is a "
        "template: a file, and its place there from 0."
      ),
      Table(
        "Families with the lowest accuracies", head, lines, ["for example"]
      ),
    ],
  )


def _calibration_section(answered: Answered) -> Section:
  result = analysis.calibration(answered.probability, answered.correct)
  sure = float(np.mean(answered.probability, dtype=np.float64))
  right = float(np.mean(answered.correct))
  return Section(
    "How sure it is",
    [
      Text(
        f"The expected calibration error is {100 * result.error:.2f} points: "
        "the mean distance of an answer's probability from how often answers "
        "as probable are right, in 15 bins of equal width. The mean probability"
        f" is {100 * sure:.1f} %, and {100 * right:.1f} % are right."
      ),
      Picture(
        "calibration",
        "How often answers of a probability are right, and how many have it",
        draw_calibration(result),
      ),
    ],
  )


def _mistakes_section(answered: Answered) -> Section:
  rows = analysis.confident_mistakes(
    answered.probability, answered.loss, answered.correct, _MISTAKES
  )
  wrong = int((~answered.correct).sum())
  if not wrong:
    return Section("Surest mistakes", [Text("There is no mistake.")])
  states = "objects" in answered.dataset.scenes
  text = f"Of {wrong:,} wrong answers, the {len(rows)} most probable ones. "
  text += (
    "Scenes are drawn from their descriptions, a glint is metal; which way "
    "cubes are turned is not known."
    if states
    else "Pictures are as small as the network reads them."
  )
  mistakes = [
    _mistake(answered, int(row), number)
    for number, row in enumerate(rows, start=1)
  ]
  return Section("Surest mistakes", [Text(text), Mistakes(mistakes)])


def _mistake(answered: Answered, row: int, number: int) -> Mistake:
  dataset = answered.dataset
  scene = int(dataset.questions["scene"][row])
  if "objects" in dataset.scenes:
    content = draw_scene(np.asarray(dataset.scenes["objects"][scene]))
  else:
    content = np.asarray(dataset.scenes["image"][scene])
  return Mistake(
    Picture(
      f"mistake-{number:02d}",
      str(dataset.image_filename[scene]),
      content,
      scene=True,
    ),
    answered.text(row),
    dataset.answers[int(dataset.questions["answer"][row])],
    dataset.answers[int(answered.predicted[row])],
    f"{100 * float(answered.probability[row]):.1f} %",
    str(dataset.family[row]),
  )
