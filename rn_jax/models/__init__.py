"""The networks: encoders, relation core, and their wiring."""

from rn_jax.models.relation_network import RelationNetwork

__all__ = ["RelationNetwork"]
