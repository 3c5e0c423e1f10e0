"""Programs for developers of the product; they are not installed."""
