"""Several evaluated runs as one page, with its tables and pictures beside."""
