"""Files, digests, seeds, hub files and plain-data records; imports only the types and errors."""
