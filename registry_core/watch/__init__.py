"""The watch protocol, for both ends."""
