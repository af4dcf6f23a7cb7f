"""Simulated light curves beside real ones: how alike they are, and how hard to label."""
