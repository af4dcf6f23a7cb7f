"""Simulated light curves beside real ones: is the simulated archive like the real one, and is it hard enough?"""
