"""The numbers and names that agents and replicas must agree on for reports."""

from __future__ import annotations

from typing import Final

# A replica that takes reports says in the answer to /watch how many seconds lie between two of them. An older replica
# does not say it, and refuses a report, so an agent sends it none.
REPORT_EVERY_HEADER: Final = "X-Report-Every"
LEAST_EVERY_S: Final = 0.1
MOST_EVERY_S: Final = 3600.0
DEFAULT_EVERY_S: Final = 30.0

# The key that an agent draws when it starts, in hexadecimal digits; its id is derived from it.
KEY_DIGITS: Final = 32
ID_DIGITS: Final = 16
# Names of an agent's own services in a report; an agent with more says how many there are.
MAX_NAMED: Final = 64
MAX_HOST: Final = 253
MAX_LABEL: Final = 63
# Pairs of a service and a face that one agent counts, and those that one report carries: with the longest names, they
# fit into the body of a request.
MAX_AGENT_PAIRS: Final = 1000
MAX_REPORT_PAIRS: Final = 400
MAX_COUNT: Final = 2**53 - 1
MAX_AGO_S: Final = 10 * 366 * 86_400

# What one replica keeps of its agents' reports.
MAX_AGENTS: Final = 10_000
MAX_PAIRS: Final = 100_000
KEPT_S: Final = 30 * 86_400.0
# An agent that has not reported for so many periods is silent.
SILENT_PERIODS: Final = 3
# How long agents are listed after they have fallen silent, and after they have ended.
SILENT_LISTED_S: Final = 3600.0
ENDED_LISTED_S: Final = 300.0
