//! OpenCV for pixels, GStreamer for seeking: the only code that touches or encodes a pixel.
