//! Owns a bridge in the test's process: real outbox, real QUIC, the other borders as the test wants them.

use std::sync::Arc;

use base::{Clock, ManualClock, Shutdown, SystemClock, counters::Counters};
use cloud_bridge::{
    book::{self, FaultyBook, MemoryBook},
    bridge::Bridge,
    committer::{Committer, ReceiptAfter},
    forwarder::{Forwarder, Packing, Way},
    inference::Inference,
    outbox::Outbox,
    peers::{self, Desk},
};
use link::{Listener, Protocol};
use proto::{Role, signing::SigningKey};
use spool::filesystem::{Filesystem, Memory};
use store::{
    faulty::{self, Faulty},
    memory::{MemoryFrames, MemoryResults},
};

use super::{RECEIPT_SEED, Site};

/// Room for a few clips of tests above what the committer keeps free.
pub(crate) const OUTBOX_BYTES: u64 = 64 * 1024 * 1024;

/// What outlives a bridge: disk, store, database.
pub(crate) struct Borders {
    pub(crate) disk: Memory,
    pub(crate) frames: Arc<MemoryFrames>,
    pub(crate) results: Arc<MemoryResults>,
    pub(crate) book: Arc<MemoryBook>,
    pub(crate) clock: ManualClock,
}

impl Borders {
    pub(crate) fn new(site: &Site) -> Self {
        Self {
            disk: Memory::default(),
            frames: Arc::new(MemoryFrames::new(site.root())),
            results: Arc::default(),
            book: Arc::default(),
            clock: clock(),
        }
    }
}

/// A clock that stands at the time of the tests' clips, after any grant begins.
fn clock() -> ManualClock {
    let clock = ManualClock::default();
    let now = u64::try_from(SystemClock::default().utc_micros()).unwrap();
    clock.advance(std::time::Duration::from_micros(now));
    clock
}

/// How a bridge is set up.
pub(crate) struct Setup {
    pub(crate) after: ReceiptAfter,
    pub(crate) outbox_bytes: u64,
    pub(crate) files: Option<Arc<dyn Filesystem>>,
    pub(crate) store_plan: faulty::Plan,
    pub(crate) book_plan: book::Plan,
    pub(crate) packing: Packing,
    /// Asked for each object that is stored, as beside a bridge.
    pub(crate) inference: Option<Arc<dyn Inference>>,
    /// Another clock than the one that stands until the test moves it.
    pub(crate) clock: Option<Arc<dyn Clock>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            after: ReceiptAfter::Outbox,
            outbox_bytes: OUTBOX_BYTES,
            files: None,
            store_plan: faulty::Plan::Sound,
            book_plan: book::Plan::Sound,
            packing: Packing::Frame,
            inference: None,
            clock: None,
        }
    }
}

/// A running bridge. Dropped without [`Parts::stop`] it is as good as killed.
pub(crate) struct Parts {
    pub(crate) bridge: Arc<Bridge>,
    pub(crate) committer: Arc<Committer>,
    pub(crate) frames: Faulty<MemoryFrames>,
    pub(crate) book: FaultyBook,
    pub(crate) shutdown: Shutdown,
    pub(crate) site_root: proto::signing::PublicKey,
    packing: Packing,
    inference: Option<Arc<dyn Inference>>,
}

impl Parts {
    /// A bridge without forwarder and listener.
    pub(crate) fn new(site: &Site, borders: &Borders, setup: Setup) -> Self {
        let files = setup.files.unwrap_or_else(|| Arc::new(borders.disk.clone()));
        let folder = std::path::Path::new("/outbox");
        let (outbox, _) = Outbox::open_on(files, folder, setup.outbox_bytes).unwrap();
        let identity = site.pki.identity(Role::Bridge, "bridge-1");
        let clock = setup.clock.unwrap_or_else(|| Arc::new(borders.clock.clone()));
        let bridge = Bridge::new(identity, clock, outbox);
        let shutdown = Shutdown::default();
        let book = FaultyBook::new(borders.book.clone(), setup.book_plan);
        let committer = Committer::new(
            bridge.clone(),
            Arc::new(book.clone()),
            SigningKey::from_seed(&RECEIPT_SEED).unwrap(),
            setup.after,
            shutdown.clone(),
        );
        let frames = Faulty::new(borders.frames.clone(), setup.store_plan);
        let (site_root, packing, inference) = (site.root(), setup.packing, setup.inference);
        Self { bridge, committer, frames, book, shutdown, site_root, packing, inference }
    }

    /// Starts forwarding.
    pub(crate) fn forward(&self) {
        let way = Way {
            frames: Arc::new(self.frames.clone()),
            book: Arc::new(self.book.clone()),
            inference: self.inference.clone(),
            packing: self.packing,
        };
        Forwarder::new(self.bridge.clone(), way, self.site_root, self.shutdown.clone()).start();
    }

    /// Starts to listen; gives the address.
    pub(crate) fn listen(&self, site: &Site) -> String {
        self.listen_at(site).0
    }

    /// Starts to listen; gives the address and the desk.
    pub(crate) fn listen_at(&self, site: &Site) -> (String, Arc<Desk>) {
        let credentials = site.credentials(Role::Bridge, "bridge-1");
        let any = "127.0.0.1:0".parse().unwrap();
        let counters: Arc<Counters> = self.bridge.counters.clone();
        let listener =
            Listener::bind(any, &credentials, Protocol::Commit, &[Role::Fog], counters).unwrap();
        let address = listener.local_addr().to_string();
        let desk = Desk::new(self.bridge.clone(), self.committer.clone(), self.site_root);
        self.shutdown.spawn(peers::serve(listener, desk.clone(), self.shutdown.clone()));
        (address, desk)
    }

    /// A counter.
    pub(crate) fn counted(&self, name: &str) -> u64 {
        self.bridge.counters.snapshot().get(name).copied().unwrap_or(0)
    }

    /// Clips in the outbox.
    pub(crate) fn waiting(&self) -> u64 {
        self.bridge.outbox.usage().records
    }

    /// Ends all tasks.
    pub(crate) async fn stop(self) {
        self.shutdown.request();
        assert!(self.shutdown.drain(std::time::Duration::from_secs(20)).await, "a task hangs");
    }
}
