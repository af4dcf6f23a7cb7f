"""Convolutional variational auto-encoders for the lightning observations of ASIM's MMIA photometers."""

__version__ = "0.1.0"
