"""What would keep Penstock from working on this machine, as values. Looks, tries, repairs nothing, prints nothing."""
