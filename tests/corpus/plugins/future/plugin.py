"""Never imported: only the manifest beside it is read."""
