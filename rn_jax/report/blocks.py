"""What a report consists of; a page in HTML and one in Markdown show it."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Text:
  """A paragraph."""

  kind: ClassVar[str] = "text"
  text: str


@dataclasses.dataclass(frozen=True)
class Table:
  """Rows of text under a head; the first column names the rows.

  Attributes:
    title: What it shows.
    head: Names of the columns.
    rows: As long as the head.
    words: The columns of words; the others have numbers, which stand right.
  """

  kind: ClassVar[str] = "table"
  title: str
  head: Sequence[str]
  rows: Sequence[Sequence[str]]
  words: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Picture:
  """A picture.

  Attributes:
    name: Of its file, without suffix; no other picture of the report has it.
    title: Stands above it.
    content: A figure; or pixels [H, W, 3] uint8, shown as wide as CLEVR's.
    wide: Whether it is too fine to be made as narrow as a telephone.
    scene: Whether its colours are those of things, the same on any paper.
  """

  kind: ClassVar[str] = "picture"
  name: str
  title: str
  content: Figure | np.ndarray
  wide: bool = False
  scene: bool = False


@dataclasses.dataclass(frozen=True)
class Gallery:
  """Pictures beside each other where there is room."""

  kind: ClassVar[str] = "gallery"
  pictures: Sequence[Picture]


@dataclasses.dataclass(frozen=True)
class Mistake:
  """A question that was answered wrongly.

  Attributes:
    picture: Its scene; its title is the name of the image.
    question: The question.
    right: The right answer.
    given: The answer given.
    probability: Of that, as text.
    family: Of the question, "" unknown.
  """

  picture: Picture
  question: str
  right: str
  given: str
  probability: str
  family: str


@dataclasses.dataclass(frozen=True)
class Mistakes:
  """Cards of mistakes."""

  kind: ClassVar[str] = "mistakes"
  mistakes: Sequence[Mistake]


@dataclasses.dataclass(frozen=True)
class Section:
  """Blocks under a heading; folded: seen when it is opened."""

  title: str
  blocks: Sequence[Text | Table | Picture | Gallery | Mistakes]
  folded: bool = False


@dataclasses.dataclass(frozen=True)
class Report:
  """A whole report."""

  title: str
  summary: str
  sections: Sequence[Section]

  def pictures(self) -> list[Picture]:
    """Returns all pictures, in their order."""
    found = []
    for section in self.sections:
      for block in section.blocks:
        match block:
          case Picture():
            found.append(block)
          case Gallery(pictures):
            found += pictures
          case Mistakes(mistakes):
            found += [mistake.picture for mistake in mistakes]
    return found
