"""What a change is: two plans told apart as values, version rules, and the judge of a canary. Touches nothing."""
