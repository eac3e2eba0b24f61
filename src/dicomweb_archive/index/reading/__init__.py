"""Reading: what is held of a study, series or instance that the caller has named."""
