"""What every room stands on: errors, files, Markdown, seeds, processes, memory."""
