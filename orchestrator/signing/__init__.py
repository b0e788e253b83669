"""What the host signs in a plugin's stead: values that a stage puts out, with a key that no plugin ever sees."""
