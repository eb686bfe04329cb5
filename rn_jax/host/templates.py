"""Templates of pages."""

from pathlib import Path
from typing import Any

import jinja2


def read_template(path: Path, **options: Any) -> jinja2.Template:
  """Reads a template of Jinja, for which a name that is not given is an error.

  Args:
    path: The template.
    **options: Jinja's own, such as autoescape.
  """
  return jinja2.Template(
    path.read_text(encoding="utf-8"),
    undefined=jinja2.StrictUndefined,
    **options,
  )
