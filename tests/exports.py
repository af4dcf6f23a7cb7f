"""Exports that a stranger has changed: their digests are right, since anyone can compute them."""

import hashlib
import json
from pathlib import Path
from typing import Any

from asim_cvae.runs.description import DIGEST, signed


def forge(folder: Path, **changes: Any) -> None:
    """Change values of a folder's ``model.json``, and compute its digests anew, that of the weights as well."""
    path = folder / "model.json"
    content = json.loads(path.read_text()) | changes
    content["weights"] = {"sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()}
    del content[DIGEST]
    path.write_text(json.dumps(signed(content)))
