"""Triage: what a model tells of new frames, how odd they are, and the tables in which observations are ranked."""
