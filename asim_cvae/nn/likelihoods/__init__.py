"""Likelihoods, a file each."""
