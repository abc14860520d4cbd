"""How contributions travel: in one machine's memory (`local`)."""
