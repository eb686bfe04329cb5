"""Relational image retrieval (R-CBIR): features, distances, rankings."""
