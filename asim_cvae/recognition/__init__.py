"""Recognise classes and kinds of events: heads trained on simulated truth, their calibration and their scores."""
