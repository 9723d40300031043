//! Owns which mask classifier this build ships: the only place that names its files. They are part of whatever program
//! uses them, so that what classifies is what was built and tested.

/// Name of the classifier, and of its files without their endings.
pub const NAME: &str = "mask-8x1";
/// The network.
pub const MODEL: &[u8] = include_bytes!("../weights/mask-8x1.onnx");
/// Its description: digest, what it reads, the policy that it learned from.
pub const DESCRIPTION: &[u8] = include_bytes!("../weights/mask-8x1.json");
