"""Steps from one shape of the study database to the next, run by Alembic whenever a store is opened."""
