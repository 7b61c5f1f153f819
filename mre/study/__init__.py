"""Human-evaluation studies: store, assignment, blinding, export and agreement."""
