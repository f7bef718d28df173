"""The benchmarks as modules: what they measure, tests hold."""

from types import ModuleType

from tests.scripts import load


def benchmark(name: str) -> ModuleType:
    """Load ``benchmarks/<name>.py``."""
    return load(f"benchmarks/{name}.py")
