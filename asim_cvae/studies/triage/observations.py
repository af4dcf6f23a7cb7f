"""Simulated observations as readers give them, without files."""

import numpy as np

from asim_cvae.instrument.observation import Observation
from asim_cvae.instrument.photometers import PHOTOMETERS, READOUT_SAMPLES, counts_to_flux
from asim_cvae.simulator.archive import SIMULATOR
from asim_cvae.simulator.observation import SimulatedObservation

_START = np.datetime64("2019-01-03T00:00:00", "us")


def as_observation(simulated: SimulatedObservation) -> Observation:
    """Return a simulated observation as it would be read from its Level 1 file."""
    flux = counts_to_flux(simulated.counts, simulated.flux_per_count)
    flux[:, np.repeat(simulated.missing, READOUT_SAMPLES)[: flux.shape[1]]] = np.nan
    rows = simulated.missing.size
    unknown = np.full(rows, np.nan)
    return Observation(
        flux=flux.astype(np.float32),
        flux_per_count=simulated.flux_per_count,
        q_fitted=np.ones(len(PHOTOMETERS), dtype=bool),
        start=_START,
        observation_id=simulated.number,
        source=f"simulated {simulated.number}",
        simulator=SIMULATOR,
        level=1,
        row_sample=np.arange(rows) * READOUT_SAMPLES,
        row_start=np.full(rows, np.datetime64("NaT", "us")),
        latitude=unknown,
        longitude=unknown,
        altitude=unknown,
        mxgs_trigger=np.full(rows, -1, dtype=np.int8),
        photometer_trigger=np.full((rows, len(PHOTOMETERS)), -1, dtype=np.int8),
        priority=np.full(rows, -1, dtype=np.int16),
    )
