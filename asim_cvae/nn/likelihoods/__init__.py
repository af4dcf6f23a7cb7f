"""Likelihoods p(x|z), one distribution per file."""
