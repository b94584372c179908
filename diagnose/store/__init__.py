"""DuckDB: the only place with a connection. One module per subject; statements in sql/, documented views in views/."""
