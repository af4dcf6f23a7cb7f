"""Convolutional variational auto-encoders for the lightning observations of ASIM's MMIA photometers."""
