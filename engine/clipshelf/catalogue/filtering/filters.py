"""Filters over typed columns, evaluated to one boolean per product.

`docs/filters.md` explains the conditions to users. This module takes them as dicts; `filter_parser` turns words into
such a dict, `filter_words` a dict into words, and `conditions` checks it.

Strings are compared in the normal form NFC, so that two spellings of an accented letter in Unicode are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from clipshelf.catalogue.filtering.conditions import All, AnyOf, Condition, Not, Test, Where, check_where
from clipshelf.catalogue.filtering.filter_masks import filled, holds, matches
from clipshelf.catalogue.typed_columns.columns import Column
from clipshelf.types import Mask


class Filter:
    """Evaluates conditions over the columns of N products.

    - `kinds`: the kind of each column by name, as in `columns`.
    - `column`: opens the column of a name, whose strings are in NFC; it is called only for columns that a condition
      names.
    - `count`: N.
    """

    def __init__(self, kinds: Mapping[str, str], column: Callable[[str], Column], count: int) -> None:
        self._kinds = kinds
        self._column = column
        self._count = count

    def mask(self, where: Where) -> Mask:
        """Evaluate `where`.

        - `where`: a dict of conditions, as `docs/filters.md` explains.

        Returns (N,) bool, true where a product fulfils it. Raises InputError as `conditions.check_where` does.
        """
        return self._mask(check_where(where, self._kinds))

    def _mask(self, condition: Condition) -> Mask:
        if isinstance(condition, Test):
            return self._test(condition)
        if isinstance(condition, Not):
            return ~self._mask(condition.part)
        mask = np.full(self._count, isinstance(condition, All))
        for part in condition.parts:
            if isinstance(condition, AnyOf):
                mask |= self._mask(part)
            else:
                mask &= self._mask(part)
        return mask

    def _test(self, test: Test) -> Mask:
        column = self._column(test.column)
        if not column.is_list:
            return matches(column, test.operator, list(test.values))
        [value] = test.values
        if value is not None:
            return holds(column, value, self._count)
        has_value = filled(column, self._count)
        return has_value if test.operator == "!=" else ~has_value
