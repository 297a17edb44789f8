"""Runs an artefact: audio in, streaming session, transducer decoding, text out."""
