"""What a stage is protected by when its plugin fails: one breaker for each plugin stage, over pybreaker."""
