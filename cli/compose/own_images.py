"""Which images of a fleet are its own, so that EXPOSE and health checks speak for programs that are known here.

Pure. An image is the fleet's own when it is built here, or where a deployed file names what another one builds.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from cli.compose.image_ports import possible_ports
from cli.compose.model import Project

# Publishers of images for everybody: many services of one of them are no fleet of one's own.
_PUBLISHERS: Final = frozenset(
    [
        *("apache", "bitnami", "bitnamilegacy", "confluentinc", "elastic", "grafana", "hashicorp", "jaegertracing"),
        *("library", "linuxserver", "minio", "mcr.microsoft.com", "opensearchproject", "otel", "prom", "redis"),
        *("supabase", "temporalio", "victoriametrics", "wurstmeister", "openzipkin", "oryd", "authelia", "nginx"),
    ]
)
MIN_OWN: Final = 5


def _publisher(image: str | None) -> str:
    """Return what stands before the last part of an image's name: a registry, an account, or both."""
    return (image or "").partition("@")[0].rpartition("/")[0].lower()


def own_images(project: Project) -> frozenset[str]:
    """Return the services whose image is the fleet's own: built here, or from where most of the file's images come.

    A deployed file often names the images that another one builds. Most means more than half of the services, and at
    least five, from one account that does not publish for everybody.
    """
    services = project.services.values()
    counts = Counter(_publisher(s.image) for s in services if _publisher(s.image))
    publisher, count = counts.most_common(1)[0] if counts else ("", 0)
    is_ours = count >= MIN_OWN and 2 * count > len(services) and not _PUBLISHERS & set(publisher.split("/"))
    return frozenset(
        s.name
        for s in services
        if (s.build is not None or (is_ours and _publisher(s.image) == publisher)) and not possible_ports(s.image)
    )
