"""Report: the folders of evaluations -> one page of tables, SVG charts, and pictures side by side."""
