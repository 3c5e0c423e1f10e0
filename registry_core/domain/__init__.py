"""The pure domain. No module here does I/O, reads a clock, draws random numbers or logs."""
