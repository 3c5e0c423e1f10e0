"""The watch protocol, for both of its ends."""
