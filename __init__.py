"""asrc: a graph compiler for streaming speech recognition."""
