"""Runs the whole house on one machine: services as plain background processes, and the demo."""
