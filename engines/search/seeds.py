"""Seeds from names: the same inputs give the same seed on every machine and in every version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def derive(*parts: object) -> int:
    """A seed in [0, 2**32) from any printable parts, by BLAKE2b; order matters."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


def params_hash(params: Mapping[str, Any]) -> str:
    """Identity of a set of hyperparameters: equal for equal values, whatever their order."""
    text = json.dumps(dict(params), sort_keys=True, separators=(",", ":"), default=repr)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
