"""Approximate position of the International Space Station, the sun's elevation, and the South Atlantic Anomaly."""

import numpy as np
from numpy.typing import NDArray

_PERIOD_S = 92.68 * 60  # 15.5 orbits a day
_INCLINATION = np.radians(51.64)
_NODE_RATE = np.radians(-5.0) / 86_400  # rad/s: the orbital plane's precession, caused by the Earth's flattening
_EARTH_RATE = 2 * np.pi / 86_164.1  # rad/s: one turn per sidereal day
_EPOCH = np.datetime64("2019-01-01T00:00:00", "us")

Degrees = NDArray[np.float64]


def ground_track(times: NDArray[np.datetime64]) -> tuple[Degrees, Degrees]:
    """Return latitude and longitude in degrees below a circular orbit with the station's period and inclination.

    The orbit's phase is arbitrary: positions are typical of the station, not its true ones.
    """
    t = (times - _EPOCH) / np.timedelta64(1, "s")
    argument = 2 * np.pi * t / _PERIOD_S  # angle from the ascending node
    latitude = np.degrees(np.arcsin(np.sin(_INCLINATION) * np.sin(argument)))
    longitude = np.arctan2(np.cos(_INCLINATION) * np.sin(argument), np.cos(argument)) + (_NODE_RATE - _EARTH_RATE) * t
    return latitude, (np.degrees(longitude) + 180) % 360 - 180


def sun_elevation(times: NDArray[np.datetime64], latitude: Degrees, longitude: Degrees) -> Degrees:
    """Return the sun's elevation above the horizon at a place on the ground, in degrees, accurate to about one."""
    days = (times - _EPOCH) / np.timedelta64(1, "D")
    declination = np.radians(-23.44 * np.cos(2 * np.pi * (days + 10) / 365.25))
    hour_angle = np.radians(360 * (days % 1) + longitude - 180)
    phi = np.radians(latitude)
    # Sine of the elevation, by the spherical law of cosines.
    sine = np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.cos(hour_angle)
    return np.asarray(np.degrees(np.arcsin(sine)))


def in_anomaly(latitude: Degrees, longitude: Degrees) -> NDArray[np.bool_]:
    """Return whether a place lies in the South Atlantic Anomaly at the station's altitude, approximately.

    Its outline is assumed to be an ellipse around 26 S, 45 W.
    """
    return ((latitude + 26) / 22) ** 2 + ((longitude + 45) / 50) ** 2 < 1


_TRIES = 1024  # random times; at least one in 90 fits a wanted sky and place
_TWILIGHT = -18.0  # degrees of sun elevation: end of astronomical twilight, below which it is night


def start_time(
    days: NDArray[np.datetime64], sunlit: bool, anomaly: bool, rng: np.random.Generator
) -> tuple[np.datetime64, float, float]:
    """Draw a start time on one of ``days`` at which the station passes over a wanted place.

    Args:
        days: (n,) dates to choose from.
        sunlit: True for twilight (sun up to 18 degrees below the horizon), False for night.
        anomaly: whether the place lies in the South Atlantic Anomaly.
        rng: random numbers.

    Returns:
        UTC time to the microsecond, latitude and longitude in degrees.
    """
    times = rng.choice(days, _TRIES).astype("datetime64[us]") + rng.integers(0, 86_400_000_000, _TRIES).astype("m8[us]")
    latitude, longitude = ground_track(times)
    sun = sun_elevation(times, latitude, longitude)
    fits_sun = (sun > _TWILIGHT) & (sun < 0) if sunlit else sun <= _TWILIGHT
    i = int(np.argmax(2 * (in_anomaly(latitude, longitude) == anomaly) + fits_sun))  # the first that fits best
    return times[i], float(latitude[i]), float(longitude[i])
