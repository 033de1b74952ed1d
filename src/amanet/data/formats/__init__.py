"""One strict reader for each raw format: bytes in, a clip or a FormatError out."""
