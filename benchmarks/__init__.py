"""How fast and how small: named works, measured beside a reference and beside the machine's own limits."""
