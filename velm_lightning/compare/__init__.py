"""Computes statistics, tables and a dashboard from finished runs; needs no torch and imports only io and the errors."""
