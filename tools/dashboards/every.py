"""Every dashboard, and the file of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from tools.dashboards.agents import AGENTS
from tools.dashboards.deployment import DEPLOYMENT
from tools.dashboards.dns import DNS
from tools.dashboards.grafana import dashboard_text
from tools.dashboards.panels import Dashboard
from tools.dashboards.redis import REDIS
from tools.dashboards.service import SERVICE
from tools.dashboards.slo import SLO
from tools.sources import ROOT

FOLDER: Final = ROOT / "compose" / "observability" / "grafana"
DASHBOARDS: Final[tuple[Dashboard, ...]] = (DEPLOYMENT, SERVICE, AGENTS, DNS, REDIS, SLO)
DASHBOARD_FILES: Final[Mapping[Path, Callable[[], str]]] = {
    FOLDER / f"{dashboard.name}.json": partial(dashboard_text, dashboard) for dashboard in DASHBOARDS
}
