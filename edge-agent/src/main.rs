//! Camera gateway daemon: recorder, uploader, control.

fn main() {}
