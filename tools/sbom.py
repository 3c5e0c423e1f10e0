"""Writes the images' CycloneDX bills of materials: sbom/agent.cdx.json and sbom/registry.cdx.json.

Each is made in a throw-away image on top of the real one, from the packages installed there. It leaves out the
base image's Debian packages, which belong to the base image.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Final

from tools.engine import MISSING, ROOT, Engine, find

CYCLONEDX: Final = "cyclonedx-bom==7.5.0"
OUT: Final = ROOT / "sbom"
RECIPE: Final = """\
FROM docker.io/library/python:3.13-slim AS tool
RUN python -m venv /sbom && /sbom/bin/python -m pip install --quiet --no-cache-dir {tool}
FROM {image}
USER 0:0
COPY --from=tool /sbom /sbom
RUN /sbom/bin/cyclonedx-py environment /opt/vertice --output-reproducible --of JSON -o /sbom.json
"""


def bill_of(engine: Engine, image: str) -> str:
    """Return the bill of materials of an image, as JSON. Raises EngineFailed."""
    throw_away = f"{image}-sbom"
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "Dockerfile"
        recipe.write_text(RECIPE.format(image=image, tool=CYCLONEDX), encoding="utf-8")
        engine.build(recipe, throw_away, context=Path(folder))
    try:
        return engine.run("run", "--rm", "--network", "none", "--entrypoint", "cat", throw_away, "/sbom.json")
    finally:
        engine.run("rmi", "-f", throw_away, check=False)


def main() -> int:
    """Build both images and write their bills of materials."""
    engine = find()
    if engine is None:
        print(MISSING, file=sys.stderr)
        return 1
    OUT.mkdir(exist_ok=True)
    for part in ("agent", "registry"):
        image = f"vertice-{part}:latest"
        engine.build(ROOT / f"Dockerfile.{part}", image)
        text = bill_of(engine, image)
        file = OUT / f"{part}.cdx.json"
        file.write_text(text, encoding="utf-8")
        print(f"{file.relative_to(ROOT)}: {len(json.loads(text)['components'])} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
