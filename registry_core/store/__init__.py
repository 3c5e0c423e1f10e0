"""Where registrations live."""
