"""Not there: no image has `rich`, which is a part of a tool of ours. structlog would import it into every program."""

raise ModuleNotFoundError(__doc__, name=__name__)
