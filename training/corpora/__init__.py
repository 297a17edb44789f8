"""Speech corpora from Debian packages, synthetic voices and LibriSpeech folders."""
