"""Lightning callbacks of a run: save, watch, log and score its training."""
