"""The gradvitals service."""
