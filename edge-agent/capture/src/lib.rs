//! GStreamer: camera to closed clips in memory, no re-encoding.
