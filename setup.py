"""Distribution ``selfrecon-toolbox``: the package ``toolbox`` and its requirements, read from ``requirements/``."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    """Lines of requirements/NAME.txt without comments."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


EXTRAS = {name: requirements(name) for name in ("optional", "tests", "docs")}

setup(
    name="selfrecon-toolbox",
    version=re.search(r'__version__ = "(.+)"', (ROOT / "toolbox" / "__init__.py").read_text())[1],
    description="3D reconstruction networks that learn without ground truth, assembled from config files",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["toolbox", "toolbox.*"]),
    install_requires=requirements("runtime"),
    extras_require={**EXTRAS, "all": sorted({r for rs in EXTRAS.values() for r in rs})},
)
