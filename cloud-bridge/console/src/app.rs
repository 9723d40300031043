//! Owns what the pages share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::{Clock, counters::Counters};
use proto::{SiteId, UtcTime};
use results::Results;

use crate::{limits::Limits, live::Board, pictures::Pictures};

/// Names of the counters in the console's status.
pub mod count {
    /// Requests that were answered, whatever the answer.
    pub const REQUESTS: &str = "requests_total";
    /// Logins.
    pub const LOGINS: &str = "logins_total";
    /// Logins with a wrong password or an unknown name.
    pub const LOGINS_WRONG: &str = "logins_wrong_total";
    /// Logins that were not looked at, since too many before were wrong.
    pub const LOGINS_THROTTLED: &str = "logins_throttled_total";
    /// Forms without the token of their session, or from another site's page.
    pub const FORMS_REFUSED: &str = "forms_refused_total";
    /// Requests over the limit of their address.
    pub const RATE_LIMITED: &str = "requests_limited_total";
    /// Objects at a frame's key that are not that frame, sealed: somebody else wrote to the bucket.
    pub const UNSEALED: &str = "frames_unsealed_total";
    /// Frames that the store did not give.
    pub const UNREAD: &str = "frames_unread_total";
    /// Answers that the database did not give.
    pub const DATABASE: &str = "database_failures_total";
    /// Messages of the bus that are no status.
    pub const UNHEARD: &str = "status_refused_total";
}

/// What the pages share.
pub struct App {
    /// The site.
    pub site: SiteId,
    /// The results database.
    pub results: Results,
    /// Frames.
    pub pictures: Pictures,
    /// What the bus says.
    pub board: Mutex<Board>,
    /// Requests by address.
    pub limits: Mutex<Limits>,
    /// The machine's clocks.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub counters: Counters,
    /// The origin that operators see, where a proxy with TLS stands in front.
    pub public_url: Option<String>,
}

impl App {
    /// The time now.
    #[must_use]
    pub fn utc(&self) -> UtcTime {
        UtcTime::from_micros(self.clock.utc_micros()).unwrap_or(UtcTime::EPOCH)
    }

    /// What the bus says.
    pub fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
