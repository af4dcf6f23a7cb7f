"""The thesis's table and figures, made again."""
