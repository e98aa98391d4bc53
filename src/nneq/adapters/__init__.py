"""One adapter per framework; each is imported only when a model of that framework arrives."""
