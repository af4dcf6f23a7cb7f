"""The run folder: its files, exports, checkpoints, resuming, settings, sweeps."""
