"""Rate and distortion: quantised inversions, code length, codecs."""
