"""Runs of one shape as a CUDA graph, in ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from modelwright.api.runner import Floats, Inputs

if TYPE_CHECKING:
    import onnxruntime

# The option of a run that names its graph. Graphs are counted from 1: 0 is that of runs that name none.
GRAPH_ID = "gpu_graph_id"
NOT_CAPTURED = "-1"
# Each graph keeps buffers of its own; a shape that does not come back is not worth one.
OCCURRENCES = 3
MOST_GRAPHS = 16


class CapturedRuns:
    """Records the kernels of shapes that come back as graphs, one for each, and replays them.

    >>> runs = CapturedRuns(session, ["input_ids", "attention_mask"], "last_hidden_state")
    >>> runs(inputs).shape
    (1, 128, 384)

    The session's provider has `enable_cuda_graph` set. Inputs are copied into the buffers that a graph was
    recorded with. Other shapes, and those after the first 16, run kernel by kernel.
    """

    def __init__(self, session: onnxruntime.InferenceSession, inputs: list[str], output: str) -> None:
        self._session = session
        self._inputs = inputs
        self._output = output
        self._seen: Counter[tuple[int, ...]] = Counter()
        self._graphs: dict[tuple[int, ...], FixedRun] = {}

    def __call__(self, inputs: Inputs) -> Floats:
        """The output, in float32."""
        shape = inputs[self._inputs[0]].shape
        graph = self._graphs.get(shape)
        if graph is None:
            self._seen[shape] += 1
            found = self._run(inputs)
            if self._seen[shape] >= OCCURRENCES and len(self._graphs) < MOST_GRAPHS:
                self._graphs[shape] = self._graph(inputs, found)
            return found.astype(np.float32, copy=False)
        return graph(inputs).astype(np.float32, copy=False)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the first input that have a graph."""
        return list(self._graphs)

    def _run(self, inputs: Inputs) -> np.ndarray:
        fed = {name: inputs[name] for name in self._inputs}
        return np.asarray(self._session.run([self._output], fed, run_options())[0])

    def _graph(self, inputs: Inputs, found: np.ndarray) -> FixedRun:
        given = {name: inputs[name] for name in self._inputs}
        return FixedRun(
            self._session,
            given,
            self._output,
            shape=found.shape,
            dtype=found.dtype,
            device="cuda",
            graph=str(len(self._graphs) + 1),
        )


class FixedRun:
    """Runs whose inputs and output keep their shapes and places, so that their kernels can be recorded.

    >>> run = FixedRun(session, inputs, "logits", shape=(1, 128, 384), dtype=half, device="cuda", graph="1")
    >>> run(inputs).shape
    (1, 128, 384)

    The first call records the graph of that number, later ones replay it; NOT_CAPTURED runs kernel by kernel.
    What the session takes and gives beside these is bound to `binding` by whoever makes it.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        inputs: Inputs,
        output: str,
        *,
        shape: tuple[int, ...],
        dtype: np.dtype,
        device: str,
        graph: str,
    ) -> None:
        import onnxruntime as ort

        self._session = session
        self._options = run_options(graph)
        self.binding = session.io_binding()
        # Copies: on the CPU a value lies in the array that it is made of.
        self._inputs = {
            name: ort.OrtValue.ortvalue_from_numpy(np.array(array), device, 0)
            for name, array in inputs.items()
        }
        self._output = ort.OrtValue.ortvalue_from_shape_and_type(shape, dtype.type, device, 0)
        for name, value in self._inputs.items():
            self.binding.bind_ortvalue_input(name, value)
        self.binding.bind_ortvalue_output(output, self._output)

    def __call__(self, inputs: Inputs) -> np.ndarray:
        """The output for other values, which the next call writes over where it lies on the CPU."""
        for name, value in self._inputs.items():
            value.update_inplace(np.ascontiguousarray(inputs[name]))
        self.replay()
        return np.asarray(self._output.numpy())

    def replay(self) -> None:
        """The run with the inputs that it had last; nothing is copied."""
        self._session.run_with_iobinding(self.binding, self._options)


def run_options(graph: str = NOT_CAPTURED) -> onnxruntime.RunOptions:
    """Options of a run that is recorded, or replayed, as the graph of that number; by default neither."""
    import onnxruntime as ort

    options = ort.RunOptions()
    options.add_run_config_entry(GRAPH_ID, graph)
    return options
