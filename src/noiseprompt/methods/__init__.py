"""Ways to make the noise an image starts from; one file a method, found through `registry.METHODS`."""
