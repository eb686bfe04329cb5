"""Asks questions about scenes, by CLEVR's rules of balance.

Families are asked in the order of how seldom they were asked before, one
question of each to a scene, and within a family no answer may run far ahead of
the others.
"""

import functools
import random
import re
from collections.abc import Iterator
from pathlib import PurePath

from data_prep.chance import pick
from data_prep.language.options import OptionSpace
from data_prep.language.programs import Value, answer_text, scene_table
from data_prep.language.reading import Language
from data_prep.language.search import Instance, build_program, find_instance
from data_prep.language.templates import SHORT_FORMS, SLOT, Template
from data_prep.world import world_of

_A_BEFORE_VOWEL = re.compile(r"\b([Aa]) (?=[aeiou])")


def allowed_answers(counts: dict[Value, int]) -> set[Value]:
  """Answers that a family may still give: none may run ahead of the others.

  Args:
    counts: How often each possible answer was given.
  """
  if len(counts) == 1:  # nobody need look to know it
    return set()
  ordered = sorted(counts.values())
  median = ordered[len(ordered) // 2]
  most = min(1.1 * ordered[-2], 5 * max(median, 5))
  return {answer for answer, count in counts.items() if count <= most}


def ask(
  scenes: list[dict],
  language: Language,
  rng: random.Random,
  per_scene: int = 10,
) -> Iterator[list[dict]]:
  """Asks about scenes in turn, keeping families and answers balanced.

  Args:
    scenes: Scenes of one world in CLEVR's layout; the balance is kept over all
      of them.
    language: Templates and synonyms.
    rng: The source of choices.
    per_scene: Most questions about a scene, each from another template.

  Yields:
    For each scene its questions in CLEVR's layout, without `question_index`.
  """
  templates = language.templates
  used = [0] * len(templates)
  known = world_of(scenes[0]).values if scenes else {}
  given = [dict.fromkeys(t.answers(known), 0) for t in templates]
  for scene in scenes:
    space = OptionSpace(scene_table(scene), rng)
    order = sorted(range(len(templates)), key=lambda t: (used[t], rng.random()))
    questions = []
    for t in order:
      if len(questions) == per_scene:
        break
      template = templates[t]
      allowed = allowed_answers(given[t])
      instance = find_instance(space, template, allowed, rng)
      if instance is None:
        continue
      used[t] += 1
      given[t][instance.answer] += 1
      words = _slot_words(template, instance)
      questions.append(
        {
          "image_index": scene["image_index"],
          "image_filename": scene["image_filename"],
          "image": PurePath(scene["image_filename"]).stem,
          "split": scene["split"],
          "question": describe(template, words, language.synonyms, rng),
          "answer": answer_text(instance.answer),
          "program": build_program(template, instance.fillings),
          "question_family_index": template.index,
          "template_filename": template.filename,
          "template_index": template.family,
        }
      )
    yield questions


def describe(
  template: Template,
  filled: dict[str, str],
  synonyms: dict[str, list[str]],
  rng: random.Random,
) -> str:
  """Writes a question in English.

  Args:
    template: Gives the phrasings, one of which is drawn.
    filled: Slot → value; an attribute that is not named is "", or "thing".
    synonyms: Value → the words for it, one of which is drawn.
    rng: The source of choices.
  """
  text = pick(rng, template.texts)
  kept = tuple([rng.random() < 0.5 for _ in range(text.count("["))])
  wording = _wording(
    text, kept, "other" in text and _exclude_each_other(filled)
  )
  words = {
    slot: pick(rng, synonyms[value]) if value in synonyms else value
    for slot, value in filled.items()
  }
  text = " ".join((wording % words).split())
  return _A_BEFORE_VOWEL.sub(r"\1n ", text)


@functools.cache
def _wording(text: str, kept: tuple[bool, ...], exclusive: bool) -> str:
  """Returns a phrasing with its slots as fields for the % operator.

  Args:
    text: Phrasing of a template.
    kept: Whether to keep each of its parts in brackets.
    exclusive: Whether what is asked for is another thing in any case.
  """
  choices = iter(kept)
  text = re.sub(
    r"\[(.*?)\]", lambda part: part[1] if next(choices) else "", text
  )
  if exclusive:
    text = text.replace(" another ", " a ").replace(" other ", " ")
  return SLOT.sub(r"%(\g<0>)s", text.replace("%", "%%"))


def _slot_words(template: Template, instance: Instance) -> dict[str, str]:
  words = {}
  for node, filling in zip(template.nodes, instance.fillings, strict=True):
    if filling is not None:
      values = () if filling.word is None else (filling.word,)
      if node.function in SHORT_FORMS:
        size, color, material, shape = filling.description
        values += (size or "", color or "", material or "", shape or "thing")
      words.update(zip(node.slots, values, strict=True))
  return words


def _exclude_each_other(filled: dict[str, str]) -> bool:
  """Whether no object fits both the first and the second description.

  Then "another" would be wrong: "another red cube" than a blue one.
  """
  pairs = [(filled.get(f"<{a}>"), filled.get(f"<{a}2>")) for a in "ZCMS"]
  return any(
    a != b and a not in ("", "thing", None) and b not in ("", "thing", None)
    for a, b in pairs
  )
