"""From finished runs to statistics, tables and a dashboard; needs no torch, and imports only io and the errors."""
