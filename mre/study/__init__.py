"""Human-evaluation studies: store, assignment, blinding, visits and export. Statistics of people against judges are in `mre.agreement`."""
