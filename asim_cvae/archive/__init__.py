"""Files of the MMIA archive: observations, labels, and which files there are."""
