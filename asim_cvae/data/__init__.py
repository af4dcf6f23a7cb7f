"""Frames as batches: data set, sampler, data module."""
