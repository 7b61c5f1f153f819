"""File layouts of public benchmarks: a reader each, and the table through which they are asked for by name."""
