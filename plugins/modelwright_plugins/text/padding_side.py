"""Moves the padding of a batch of prompts between its sides."""

from __future__ import annotations

import numpy as np

from modelwright.api.runner import Floats, Inputs, Tokens


def is_padded(inputs: Inputs) -> bool:
    """Whether some row is shorter than the others."""
    return not inputs["attention_mask"].all()


def pad_right(inputs: Inputs) -> dict[str, Tokens]:
    """The same rows, padded on the right instead of the left; arrays of shape [batch, length]."""
    starts = _starts(inputs)
    return {name: _roll(array, -starts) for name, array in inputs.items()}


def pad_left_again(values: Floats, inputs: Inputs) -> Floats:
    """Values [batch, length, …] of rows padded on the right at the columns that `inputs` has them in."""
    return _roll(values, _starts(inputs))


def last_columns(mask: Tokens) -> Tokens:
    """The column of each row's last token, of shape [batch]."""
    return mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)


def split_rows(inputs: Inputs) -> list[dict[str, Tokens]]:
    """Each row as a batch of its own, without padding."""
    return [
        {name: array[index : index + 1, start:] for name, array in inputs.items()}
        for index, start in enumerate(_starts(inputs))
    ]


def _starts(inputs: Inputs) -> Tokens:
    return inputs["attention_mask"].argmax(axis=1)


def _roll(array: np.ndarray, shifts: Tokens) -> np.ndarray:
    return np.stack([np.roll(row, shift, axis=0) for row, shift in zip(array, shifts, strict=True)])
