"""gradvitals."""
