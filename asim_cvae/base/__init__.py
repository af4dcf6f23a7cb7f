"""Helpers that every other room may use: errors, files, Markdown tables, seeds, worker processes, memory."""
