"""The powder pattern as a figure. Data in, figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

ACCENT = "#3c86b4"


def xrd_figure(peaks: Sequence[Mapping[str, Any]], *, angle: str, intensity: str) -> Figure:
    """Return a powder pattern as sticks: 2θ in degrees against relative intensity in %."""
    import plotly.graph_objects as go

    x: list[float | None] = []
    y: list[float | None] = []
    for peak in peaks:
        x += [peak["two_theta_deg"], peak["two_theta_deg"], None]
        y += [0.0, peak["intensity_percent"], None]
    figure = go.Figure(go.Scatter(x=x, y=y, mode="lines", line={"color": ACCENT, "width": 2}, hoverinfo="skip"))
    figure.add_trace(
        go.Scatter(
            x=[peak["two_theta_deg"] for peak in peaks],
            y=[peak["intensity_percent"] for peak in peaks],
            mode="markers",
            marker={"color": ACCENT, "size": 5},
            text=[planes(peak) for peak in peaks],
            hovertemplate="%{text}<br>2θ = %{x:.2f}°, %{y:.1f} %<extra></extra>",
        )
    )
    return _plain(figure, angle, intensity, height=300)


def planes(peak: Mapping[str, Any]) -> str:
    """Return the indices of a peak: "(1 1 1) (2 0 0)"."""
    return " ".join(f"({' '.join(map(str, hkl))})" for hkl in peak["hkl"])


def _plain(figure: Figure, x: str, y: str, *, height: int) -> Figure:
    figure.update_layout(
        height=height,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        showlegend=False,
        xaxis_title=x,
        yaxis_title=y,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    return figure
