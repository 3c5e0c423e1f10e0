"""Injects faults into a running system and checks what became of its promises. `make chaos` runs them all."""
