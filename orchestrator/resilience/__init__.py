"""What a stage is protected by when its plugin fails: retries, and one breaker for each plugin stage."""
