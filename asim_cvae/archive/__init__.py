"""Read the MMIA archive: find its files, read observations and label tables."""
