"""Defaults that every experiment starts from; each config file changes some.

Every key, with what it means, stands in rn_jax/default_config.py: the package
needs them too, for the networks that it imports.
"""

from rn_jax.default_config import get_config, use_reference_semantics

__all__ = ["get_config", "use_reference_semantics"]
