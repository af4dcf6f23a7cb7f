"""Check settings against ``conf/settings.yaml``, which declares them, and describe them for people."""
