"""Problems and modules: what front ends ask, iterations of six stages each, and the modules that run them."""
