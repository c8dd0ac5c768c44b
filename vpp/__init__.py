"""A virtual power plant on a day-ahead market: what its scripts stand on."""
