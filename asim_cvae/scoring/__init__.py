"""Scores of latents against labels. No torch here."""
