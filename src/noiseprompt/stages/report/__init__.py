"""Pages about evaluations: tables, charts, pictures side by side."""
