"""What a target must hold: the same rows and digest as `delivery.delivered` reads of it, from the documents."""

from __future__ import annotations

import hashlib
import json
import sys

from benchmarks.digest import truth


def main() -> None:
    docs = int(sys.argv[1])
    digest = hashlib.md5(usedforsecurity=False)
    for name, body in truth(docs):  # in the order of their ids
        text = f"{name} ".encode() + (body if isinstance(body, bytes) else body.encode())
        digest.update(hashlib.md5(text, usedforsecurity=False).hexdigest().encode())
    print(json.dumps({"rows": docs, "digest": digest.hexdigest()}))


if __name__ == "__main__":
    main()
