"""What a run leaves for others to use: predictions, tables of scores, and what its pictures are drawn from."""

from counterpoint.products.writing import write_products

__all__ = ["write_products"]
