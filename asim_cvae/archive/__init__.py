"""Files of the MMIA archive: observations, labels, and which files there are."""

from asim_cvae.archive.discover import discover
from asim_cvae.archive.labels import LabelTable, LabelTableError, read_labels
from asim_cvae.archive.reader import read_observation

__all__ = ["LabelTable", "LabelTableError", "discover", "read_labels", "read_observation"]
