//! What a page shows, made out of what is known. Pure: takes rows, statuses and `now`; gives HTML.

pub(crate) mod bars;
pub(crate) mod camera;
pub(crate) mod chart;
pub(crate) mod faces;
pub(crate) mod format;
pub(crate) mod frame;
pub(crate) mod ledger;
pub(crate) mod overview;
pub(crate) mod page;
pub(crate) mod simple;
pub(crate) mod status;
pub(crate) mod tile;
