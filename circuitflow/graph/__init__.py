"""The circuit: a document to a networkx graph, its calls expanded and its shapes inferred."""
