"""Properties on which the promise rests, as functions: `certify` and the conformance kits run the same ones."""

__all__: list[str] = []
