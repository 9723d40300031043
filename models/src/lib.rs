//! Face detector and mask classifier behind traits, pre- and post-processing, asset registry.
