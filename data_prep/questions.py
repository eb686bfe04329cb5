"""Asks questions about scenes, by CLEVR's rules of balance.

Families are asked in the order of how seldom they were asked before, one
question of each to a scene, and within a family no answer may run far ahead of
the others.
"""

import random
import re
from collections.abc import Iterator

from data_prep.programs import Value, answer_text, scene_table
from data_prep.scenes import pick
from data_prep.search import (
  DESCRIPTIONS,
  Option,
  OptionSpace,
  build_program,
  find_instance,
)
from data_prep.templates import SLOT, Language, Template


def allowed_answers(counts: dict[Value, int]) -> set[Value]:
  """Answers that a family may still give: none may run ahead of the others.

  Args:
    counts: How often each possible answer was given.
  """
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
    scenes: Scenes in CLEVR's layout; the balance is kept over all of them.
    language: Templates and synonyms.
    rng: The source of choices.
    per_scene: Most questions about a scene, each from another template.

  Yields:
    For each scene its questions in CLEVR's layout, without `question_index`.
  """
  templates = language.templates
  used = [0] * len(templates)
  given = [dict.fromkeys(t.answers, 0) for t in templates]
  for scene in scenes:
    space = OptionSpace(scene_table(scene), rng)
    order = sorted(range(len(templates)), key=lambda t: (used[t], rng.random()))
    questions = []
    for t in order:
      if len(questions) == per_scene:
        break
      allowed = allowed_answers(given[t])
      instance = find_instance(space, templates[t], allowed, rng)
      if instance is None:
        continue
      answer, taken = instance
      used[t] += 1
      given[t][answer] += 1
      text = describe(
        templates[t], _slot_words(templates[t], taken), language.synonyms, rng
      )
      questions.append(
        {
          "image_index": scene["image_index"],
          "image_filename": scene["image_filename"],
          "split": scene["split"],
          "question": text,
          "answer": answer_text(answer),
          "program": build_program(templates[t], taken),
          "question_family_index": templates[t].family,
          "template_filename": templates[t].filename,
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
  words = {
    slot: pick(rng, synonyms[value]) if value in synonyms else value
    for slot, value in filled.items()
  }
  text = re.sub(
    r"\[(.*?)\]",
    lambda part: part[1] if rng.random() < 0.5 else "",
    pick(rng, template.texts),
  )
  if "other" in text and _exclude_each_other(filled):
    text = text.replace(" another ", " a ").replace(" other ", " ")
  text = " ".join(SLOT.sub(lambda slot: words[slot[0]], text).split())
  return re.sub(r"\b([Aa]) (?=object\b)", r"\1n ", text)


def _slot_words(template: Template, taken: list[Option]) -> dict[str, str]:
  words = {}
  for node, (_, word, description) in zip(template.nodes, taken, strict=True):
    filling = [] if word is None else [word]
    if description is not None:
      size, color, material, shape = DESCRIPTIONS[description]
      filling += [size or "", color or "", material or "", shape or "thing"]
    words.update(zip(node.slots, filling, strict=True))
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
