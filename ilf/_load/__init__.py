"""Behind ``load``: sources, the mapping of columns, published layouts, and the checked intake of rows."""
