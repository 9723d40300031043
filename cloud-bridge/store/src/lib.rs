//! The object store as this system needs it: FrameStore and ResultStore.
