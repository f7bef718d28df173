"""What is OpenVINO's alone."""

import re
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cxrfeat.features.runtimes import (
    openvino_runtime,
)
from cxrfeat.features.runtimes.kept_conversion import OPENVINO, Conversion, NotRunError
from cxrfeat.features.runtimes.recipe import Recipe
from tests.features.runtimes.made import opened, pictures


def test_openvino_tells_nobody_that_it_is_used() -> None:
    """Its package for that sends a message whenever OpenVINO is imported."""
    script = (
        "import sys\n"
        "from cxrfeat.features.runtimes.openvino_runtime import openvino\n"
        "openvino()\n"
        "assert 'openvino' in sys.modules\n"
        "print([name for name in sys.modules if name.startswith('openvino_telemetry')])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_openvino_has_run_once_before_threads_use_it(monkeypatch) -> None:
    """Two threads whose runs were the first of a process waited for each other for ever."""
    ran: list[str] = []
    original = openvino_runtime.OpenVino.maps

    def told(self, image):
        ran.append(threading.current_thread().name)
        return original(self, image)

    monkeypatch.setattr(openvino_runtime.OpenVino, "maps", told)
    extractor = opened(runtime="openvino")
    assert ran[-1:] == [threading.current_thread().name]
    before = len(ran)
    extractor(pictures(2))
    assert all(name.startswith("network") for name in ran[before:])


def test_openvino_gives_the_same_bits_on_any_number_of_cores(monkeypatch) -> None:
    rows = []
    for cores in (1, 3):
        monkeypatch.setattr(openvino_runtime, "available_cores", lambda cores=cores: cores)
        rows.append(opened("resnet18", runtime="openvino")(pictures(4)))
    np.testing.assert_array_equal(*rows)


def test_a_processor_without_bf16_does_not_run_it_in_float32_under_that_name(
    tmp_path: Path, monkeypatch
) -> None:
    """OpenVINO would compute in float32 there, and say so only when asked."""
    compiled = SimpleNamespace(get_property=lambda _: SimpleNamespace(to_string=lambda: "f32"))
    core = SimpleNamespace(read_model=lambda *_: None, compile_model=lambda *_: compiled)
    for name in OPENVINO.files:
        (tmp_path / name).write_text("weights")
    monkeypatch.setattr(openvino_runtime, "_core", lambda: core)
    with pytest.raises(NotRunError, match="computes in f32 here, not in bf16"):
        openvino_runtime.OpenVino(tmp_path, 1, Recipe(32, (0.5,), (0.25,), "avg", "bf16"))
    made = Conversion(1, [], {"fp32": 1e-6}, {"fp32": 1e-5})
    assert OPENVINO.refusal(made, "fp32") == ""
    assert OPENVINO.refusal(made, "bf16") == "openvino does not compute in bf16 here"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells it on Linux alone")
def test_the_file_does_not_stay_in_memory_beside_what_openvino_made_of_it(cache: Path) -> None:
    """ResNet50 held its 100 MB twice."""
    extractor = opened("resnet18", runtime="openvino")
    kilobytes = {"Size:": 0, "Rss:": 0}
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        what, *told = line.split()
        if re.fullmatch(r"[0-9a-f]+-[0-9a-f]+", what):
            inside = str(cache) in line and "network.bin" in line
        elif inside and what in kilobytes:
            kilobytes[what] += int(told[0])
    before = extractor(pictures(2))
    assert kilobytes["Size:"] > 40_000
    assert kilobytes["Rss:"] < 4_000
    np.testing.assert_array_equal(extractor(pictures(2)), before)


def test_no_batch_normalisation_is_left_to_fold_when_a_network_is_opened(cache: Path) -> None:
    """ResNet50 took 80 MB more and twice the time to open."""
    opened("resnet18", runtime="openvino")
    (kept,) = (cache / "openvino").rglob("network.xml")
    layers = re.findall(r'type="(\w+)"', kept.read_text())
    assert layers.count("Convolution") == 20
    assert "BatchNormInference" not in layers
