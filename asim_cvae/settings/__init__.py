"""What may be set: declared in ``conf/settings.yaml``, checked, and described in ``--help`` and docs/settings.md."""
