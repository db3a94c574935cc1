"""Independent pieces of work, in this process, in several processes, or on the computers of a Ray cluster."""
