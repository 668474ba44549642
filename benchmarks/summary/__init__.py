"""The page ``docs/results.md``: how accurate the default is and where it is wrong, from the committed CSV files."""
