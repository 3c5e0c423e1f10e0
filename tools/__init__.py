"""Programs for those who work on the product; nothing of it is installed."""
