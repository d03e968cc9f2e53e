"""The band gap tool: what a trained predictor says of a structure; always told as a prediction, never as a value."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

from assistant.tools.base import Tool, ToolContext, ToolOutput, from_function
from ingest.errors import BadInput, ModelError

CAVEAT = (
    "a prediction of the PBE band gap, which itself lies below the measured one, often by a third to a half; "
    "not a measured and not a computed value"
)


def make(context: ToolContext) -> Tool:
    """Return the tool, asking the context's predictor about structures of its attachments and library."""

    def bandgap(structure: str = "") -> ToolOutput:
        """Predict the PBE band gap of a crystal structure in eV with a 90 % interval, by a machine-learned model.

        For a material that has a record, look its gap up with the materials tool instead.

        Args:
            structure: name of an attached file, id of a record such as mp-149, or CIF, POSCAR or pymatgen JSON text;
                empty for the only attached file
        """
        from assistant.tools.attached import find_structure, parse_structure
        from ingest.structure_files import to_crystal

        model = _model(context.bandgap_model)
        given = parse_structure(find_structure(context, structure))
        answer = model.predict([to_crystal(given.structure, name=given.name)])[0]
        if answer.error:
            raise BadInput(f"no prediction for {given.name!r}: {answer.error}")
        data = {
            "structure": given.name,
            "source": given.source,
            "formula": answer.formula,
            "band_gap_ev": round(float(answer.value), 4),
            **_interval(answer),
            "unit": "eV",
            "functional": "PBE",
            "kind": "prediction",
            "model": answer.model,
            "note": "; ".join(filter(None, (answer.note, *given.notes, CAVEAT))),
        }
        span = f"90 % interval {answer.low:.2f} to {answer.high:.2f} eV" if _interval(answer) else "without an interval"
        text = (
            f"The model {answer.model} predicts a PBE band gap of {answer.value:.2f} eV for {answer.formula} "
            f"({given.name}), {span}. This is {CAVEAT}."
        )
        beware = "; ".join(filter(None, (answer.note, *given.notes)))
        text += f" Beware: {beware}." if beware else ""
        return ToolOutput(data, text, (answer.model, given.source))

    return from_function(bandgap, read_only=True)


def _model(configured: Any) -> Any:
    if configured is None:
        raise ModelError("no band gap predictor is configured", hint='Use the shipped one: bandgap_model="shipped"')
    if isinstance(configured, str | Path):
        return _loaded(str(configured))
    return configured


@lru_cache(maxsize=2)
def _loaded(spec: str) -> Any:
    from finetune.predict import load

    return load(spec, target="band_gap")


def _interval(answer: Any) -> dict[str, Any]:
    """Return the 90 % interval; nothing for models that write their answer, which have none."""
    if not (math.isfinite(answer.low) and math.isfinite(answer.high)):
        return {}
    return {"low_ev": round(float(answer.low), 4), "high_ev": round(float(answer.high), 4), "interval": "90 %"}
