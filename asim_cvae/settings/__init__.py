"""Check settings against ``conf/settings.yaml``, which declares them, describe them for people, and quote them."""
