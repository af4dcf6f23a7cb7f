"""Figures: panels, a run's pictures, TensorBoard."""
