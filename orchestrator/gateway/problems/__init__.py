"""Problems over HTTP: the calls of front ends that exist, and those for consoles and scripts."""
