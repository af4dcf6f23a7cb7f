"""Pulses in whole observations: found, measured, and told by kind."""
