"""Exports and scores that a stranger has changed: their digests are right, since anyone can compute them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asim_cvae.base.documents import DIGEST, signed


def forge(folder: Path, **changes: Any) -> None:
    """Change values of a folder's ``model.json``, and compute its digests anew, that of the weights as well."""
    content = json.loads((folder / "model.json").read_text()) | changes
    content["weights"] = {"sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()}
    sign(folder / "model.json", content)


def sign(path: Path, content: Mapping[str, Any]) -> None:
    """Write a document with its right digest."""
    path.write_text(json.dumps(signed({name: value for name, value in content.items() if name != DIGEST})))
