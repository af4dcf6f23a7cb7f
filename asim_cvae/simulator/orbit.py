"""Where the International Space Station is, roughly, and whether it is night there or radiation is strong."""

import numpy as np
from numpy.typing import NDArray

_PERIOD_S = 92.68 * 60  # 15.5 orbits a day
_INCLINATION = np.radians(51.64)
_NODE_RATE = np.radians(-5.0) / 86_400  # of the orbit's plane, by the Earth's flattening
_EARTH_RATE = 2 * np.pi / 86_164.1
_EPOCH = np.datetime64("2019-01-01T00:00:00", "us")

Degrees = NDArray[np.float64]


def ground_track(times: NDArray[np.datetime64]) -> tuple[Degrees, Degrees]:
    """Latitude and longitude below a circular orbit of the station's period and inclination; its phase is made up."""
    t = (times - _EPOCH) / np.timedelta64(1, "s")
    along = 2 * np.pi * t / _PERIOD_S
    latitude = np.degrees(np.arcsin(np.sin(_INCLINATION) * np.sin(along)))
    east = np.arctan2(np.cos(_INCLINATION) * np.sin(along), np.cos(along)) + (_NODE_RATE - _EARTH_RATE) * t
    return latitude, (np.degrees(east) + 180) % 360 - 180


def sun_elevation(times: NDArray[np.datetime64], latitude: Degrees, longitude: Degrees) -> Degrees:
    """Height of the sun over the ground below, in degrees, to a degree or so."""
    days = (times - _EPOCH) / np.timedelta64(1, "D")
    declination = np.radians(-23.44 * np.cos(2 * np.pi * (days + 10) / 365.25))
    hour_angle = np.radians(360 * (days % 1) + longitude - 180)
    phi = np.radians(latitude)
    sine = np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.cos(hour_angle)
    return np.asarray(np.degrees(np.arcsin(sine)))


def in_anomaly(latitude: Degrees, longitude: Degrees) -> NDArray[np.bool_]:
    """Within the South Atlantic Anomaly as the station meets it, roughly: an ellipse around 26 S, 45 W, as assumed."""
    return ((latitude + 26) / 22) ** 2 + ((longitude + 45) / 50) ** 2 < 1


_TRIES = 1024  # of which one in 90 or more fits
_TWILIGHT = -18.0  # degrees: MMIA watches the night, and its edges


def start_time(
    days: NDArray[np.datetime64], sunlit: bool, anomaly: bool, rng: np.random.Generator
) -> tuple[np.datetime64, float, float]:
    """A time on one of ``days`` over such a place, to the microsecond, with its latitude and longitude."""
    times = rng.choice(days, _TRIES).astype("datetime64[us]") + rng.integers(0, 86_400_000_000, _TRIES).astype("m8[us]")
    latitude, longitude = ground_track(times)
    sun = sun_elevation(times, latitude, longitude)
    fits_sun = (sun > _TWILIGHT) & (sun < 0) if sunlit else sun <= _TWILIGHT
    i = int(np.argmax(2 * (in_anomaly(latitude, longitude) == anomaly) + fits_sun))  # the first that fits best
    return times[i], float(latitude[i]), float(longitude[i])
