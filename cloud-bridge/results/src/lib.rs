//! The results database: what became of every clip and frame, what was counted, who may look.
//!
//! One schema and one text of every query for SQLite (one machine) and PostgreSQL (Kubernetes), over sqlx's `Any`
//! driver: two pools would mean two copies of each query, of which the tests of most machines run one. The price is
//! that columns are text and 64-bit integers alone. One database holds one site.
//!
//! The bridge writes clips, frames and results; the console writes users, sessions and the audit log. Both may hold the
//! same file or server at once. Every write can be repeated: the first one counts, and the others change nothing.
//! A committed write is durable: that is what lets the bridge delete its outbox record.
//!
//! Nothing here tries again by itself: callers do, by `base::retry`. Nothing is ever deleted but sessions that ended
//! and attempts that are past. Limits: 1,000 rows of any answer that has a limit.

mod audit;
mod by_model;
mod clips;
mod corrected;
mod counts;
mod database;
mod error;
mod frame;
mod frames;
mod linked;
mod place;
mod select;
mod sessions;
mod sums;
mod throttle;
mod totals;
mod tracks;
mod users;

pub use audit::{AuditRow, Event};
pub use by_model::CountsByModel;
pub use clips::{ClipFilter, ClipRow};
pub use corrected::Confusion;
pub use counts::{Bucket, BucketWidth, Counts, Share};
pub use database::Results;
pub use error::ResultsError;
pub use frame::{
    Awaiting, FrameAbout, FrameFilter, FramePlace, FrameRow, FrameState, Order, StateKind,
};
pub use place::resolve;
pub use sessions::{SESSION_IDLE, SESSION_LIFE, Session, SessionToken};
pub use throttle::{ADDRESS_FAILURES_MAX, ATTEMPT_WINDOW, PAIR_FAILURES_MAX, USER_FAILURES_MAX};
pub use totals::{CameraTotals, Unseen};
pub use tracks::Track;
pub use users::{Login, PASSWORD_CHARS_MIN};

/// Most rows of one answer.
pub const ROWS_MAX: u32 = 1000;
