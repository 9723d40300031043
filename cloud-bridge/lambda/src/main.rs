//! S3 event handler: classify the faces of sealed frames.

fn main() {}
