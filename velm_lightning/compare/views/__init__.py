"""Parts of the tables, the page and the report of a comparison."""
