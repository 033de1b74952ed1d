"""Strict readers of raw formats, and what they share: a sound file gives its clips, and any other a FormatError."""
