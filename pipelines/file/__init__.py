"""The pipeline file as text: read, layered, understood key by key. What its values mean together is for `lint`."""
