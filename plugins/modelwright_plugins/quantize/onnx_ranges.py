"""Ranges of activations for static quantization, by ONNX Runtime's calibrators."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from modelwright.api.context import StageContext
from modelwright.api.runner import Inputs

Method = Literal["minmax", "entropy", "percentile"]


def calibrate(
    graph: Path,
    batches: Sequence[Inputs],
    method: Method,
    operators: Sequence[str],
    ctx: StageContext,
    *,
    external: bool,
) -> Path:
    """Run texts through the graph at `graph`; a file of ranges that `quantize_static` takes as its cache.

    `minmax` takes the extremes, `percentile` what 99.999 % of all values lie within, `entropy` the range
    that keeps most information (Migacz 2017, 8-bit Inference with TensorRT).
    """
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator, save_tensors_data

    class Once:
        """Hands out one text."""

        def __init__(self, batch: Inputs) -> None:
            self._batches = iter([batch])

        def get_next(self) -> Inputs | None:
            return next(self._batches, None)

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    calibrator = create_calibrator(
        graph,
        list(operators),
        augmented_model_path=str(graph.with_name("calibration.onnx")),
        calibrate_method=methods[method],
        use_external_data_format=external,
    )
    names = [value.name for value in calibrator.model.graph.input]
    for number, batch in enumerate(batches):
        ctx.progress(number, len(batches), "calibrating")
        # Histogram calibrators keep all values of what one call reads, and want them of one length.
        calibrator.collect_data(Once({name: batch[name] for name in names}))
    ranges = graph.with_name("ranges.json")
    save_tensors_data(calibrator.compute_data(), ranges)
    return ranges
