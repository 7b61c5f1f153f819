"""People against judges: agreement, resampling, ranking, paired tests, comparison and its report. Reads tables, never the database."""
