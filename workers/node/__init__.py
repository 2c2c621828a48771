"""One worker process of an organization: it takes pokes, keeps its attempts alive, ends in order."""
