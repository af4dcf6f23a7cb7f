"""Lists the packages of the wheel. All else about the package stands in pyproject.toml.

``asim_cvae.conf`` has to be named here: its folder, ``conf/``, lies beside ``asim_cvae/``, where no search for packages
looks.
"""

from setuptools import find_namespace_packages, setup

setup(packages=[*find_namespace_packages(include=["asim_cvae", "asim_cvae.*"]), "asim_cvae.conf"])
