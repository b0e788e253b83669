"""What reload.py and the soak among the tests have in common: a scene that changes, who asks it and what is asked."""
