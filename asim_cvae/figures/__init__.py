"""Draw figures, write a run's pictures, and show runs in TensorBoard."""
