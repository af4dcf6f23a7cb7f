"""The page on which people look at the events of a triage and label them, and the server that keeps their labels."""
