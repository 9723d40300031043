//! Owns which mask classifiers this build ships: the only place that names their files. They are part of whatever program
//! uses them, so that what classifies is what was built and tested.

/// A classifier of this build.
#[derive(Debug, Clone, Copy)]
pub struct Shipped {
    /// Its name, and that of its files without their endings.
    pub name: &'static str,
    /// The network.
    pub model: &'static [u8],
    /// Its description: digest, what it reads, the policy that it learned under.
    pub description: &'static [u8],
}

/// Reads a face before it is covered; nothing that it reads leaves the fog node.
pub const BEFORE_COVERING: Shipped = Shipped {
    name: "mask-solid",
    model: include_bytes!("../weights/mask-solid.onnx"),
    description: include_bytes!("../weights/mask-solid.json"),
};

/// Reads the cells that policies `cells` and `strict` release: the function's.
pub const OF_CELLS: Shipped = Shipped {
    name: "mask-8x1",
    model: include_bytes!("../weights/mask-8x1.onnx"),
    description: include_bytes!("../weights/mask-8x1.json"),
};
