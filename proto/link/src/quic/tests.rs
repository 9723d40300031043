//! Loopback tests of listeners, connections and channels.

use std::sync::Arc;

use base::counters::Counters;
use proto::{
    ClipId, Role,
    limits::MESSAGE_BYTES_MAX,
    wire::{CommitMessage, WireError},
};

use super::*;
use crate::{testing::TestSite, tls::Refusal};

struct Bench {
    folder: tempfile::TempDir,
    site: TestSite,
    bridge: std::path::PathBuf,
    counters: Arc<Counters>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = TestSite::new(folder.path(), "town");
        let bridge = site.enrol(Role::Bridge, "bridge");
        Self { folder, site, bridge, counters: Arc::default() }
    }

    /// A bridge that takes fogs.
    fn listen(&self) -> Listener {
        let credentials = Credentials::load(&self.bridge).unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let counters = self.counters.clone();
        Listener::bind(any, &credentials, Protocol::Commit, &[Role::Fog], counters).unwrap()
    }

    fn counted(&self, name: &str) -> u64 {
        self.counters.snapshot().get(name).copied().unwrap_or(0)
    }
}

async fn dial(address: SocketAddr, credentials: &Credentials) -> Result<Peer, LinkError> {
    connect(&address.to_string(), credentials, Protocol::Commit, Role::Bridge).await
}

/// Connects, which may work at first, and gives the error that the client sees while the listener lets nobody in.
async fn refused(listener: &mut Listener, credentials: &Credentials) -> LinkError {
    let address = listener.local_addr().to_string();
    let before = listener.counters.snapshot();
    let client = async {
        match connect(&address, credentials, Protocol::Commit, Role::Bridge).await {
            Ok(peer) => peer.closed().await,
            Err(error) => error,
        }
    };
    let error = tokio::select! {
        peer = listener.accept() => panic!("{peer:?} was let in"),
        error = client => error,
    };
    // The listener counts when its own side of the handshake has ended, which may be a moment later.
    while listener.counters.snapshot() == before {
        drop(tokio::time::timeout(Duration::from_millis(1), listener.accept()).await);
    }
    error
}

fn clip() -> ClipId {
    "town/cam-1/000102030405060708090a0b0c0d0e0f/1".parse().unwrap()
}

#[tokio::test]
async fn messages_and_raw_bytes_go_round_between_two_identities() {
    let bench = Bench::new();
    let mut listener = bench.listen();
    let fog = bench.site.credentials(Role::Fog, "fog-1");
    let (client, server) = tokio::join!(dial(listener.local_addr(), &fog), listener.accept());
    let (client, server) = (client.unwrap(), server.unwrap());
    assert_eq!(server.identity(), fog.identity());
    assert_eq!(client.identity(), &bench.site.identity(Role::Bridge, "bridge"));

    let asking = async {
        let mut channel = client.open_channel().await.unwrap();
        channel.send(&CommitMessage::Status(clip())).await.unwrap();
        channel.send(&CommitMessage::Frame { length: 300_000 }).await.unwrap();
        channel.send_bytes(&vec![7; 300_000]).await.unwrap();
        channel.recv::<CommitMessage>().await.unwrap()
    };
    let answering = async {
        let mut channel = server.accept_channel().await.unwrap();
        assert_eq!(channel.recv::<CommitMessage>().await.unwrap(), CommitMessage::Status(clip()));
        let frame = channel.recv::<CommitMessage>().await.unwrap();
        assert_eq!(frame, CommitMessage::Frame { length: 300_000 });
        assert_eq!(channel.recv_bytes(300_000, 300_000).await.unwrap(), vec![7; 300_000]);
        channel.send(&CommitMessage::Unknown).await.unwrap();
        channel.finish().await.unwrap();
    };
    assert_eq!(tokio::join!(asking, answering).0, CommitMessage::Unknown);
    client.finish("done").await;
    assert!(matches!(server.accept_channel().await, Err(LinkError::Lost { .. })));
}

#[tokio::test]
async fn a_peer_of_the_wrong_role_is_refused_and_counted() {
    let bench = Bench::new();
    let mut listener = bench.listen();
    let edge = bench.site.credentials(Role::Edge, "gw-1");
    let error = refused(&mut listener, &edge).await;
    assert!(
        matches!(&error, LinkError::RefusedByPeer { why, .. } if why.contains("gw-1")),
        "{error}"
    );
    assert_eq!(bench.counted("peers_of_wrong_role_total"), 1);
}

#[tokio::test]
async fn a_server_of_the_wrong_role_is_refused_by_the_client() {
    let bench = Bench::new();
    let mut listener = bench.listen();
    let fog = bench.site.credentials(Role::Fog, "fog-1");
    let address = listener.local_addr().to_string();
    let dialling = connect(&address, &fog, Protocol::Commit, Role::Console);
    let error = tokio::select! {
        result = dialling => result.unwrap_err(),
        () = async { while listener.accept().await.is_some() {} } => unreachable!(),
    };
    assert!(matches!(error, LinkError::Refused { refusal: Refusal::Role { .. }, .. }), "{error}");
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused_in_both_directions() {
    let bench = Bench::new();
    let mut listener = bench.listen();
    // Of the same site by name, with the roots of nobody we know.
    let other = TestSite::new(&bench.folder.path().join("other"), "town");
    let stranger = other.credentials(Role::Fog, "fog-1");
    let error = refused(&mut listener, &stranger).await;
    assert!(matches!(error, LinkError::Handshake { .. }), "{error}");
    assert_eq!(bench.counted("peers_untrusted_total"), 1);

    // It trusts our roots, so that only the server can refuse.
    let folder = other.enrol(Role::Fog, "fog-2");
    std::fs::copy(bench.bridge.join("roots.pem"), folder.join("roots.pem")).unwrap();
    let error = refused(&mut listener, &Credentials::load(&folder).unwrap()).await;
    assert!(matches!(error, LinkError::Handshake { .. }), "{error}");
    assert_eq!(bench.counted("peers_untrusted_total"), 2);
}

#[tokio::test]
async fn a_serial_revoked_while_the_listener_runs_is_refused_from_the_next_connection_on() {
    let bench = Bench::new();
    let mut listener = bench.listen();
    let fog = bench.site.credentials(Role::Fog, "fog-1");
    let (client, server) = tokio::join!(dial(listener.local_addr(), &fog), listener.accept());
    assert!(client.is_ok() && server.is_some());
    std::fs::write(bench.bridge.join("revoked.txt"), format!("{}\n", fog.serial())).unwrap();
    let error = refused(&mut listener, &fog).await;
    assert!(
        matches!(&error, LinkError::RefusedByPeer { why, .. } if why.contains("revoked")),
        "{error}"
    );
    assert_eq!(bench.counted("peers_revoked_total"), 1);
}

#[tokio::test]
async fn a_peer_with_the_other_protocol_is_refused() {
    let bench = Bench::new();
    let mut listener = bench.listen();
    let fog = bench.site.credentials(Role::Fog, "fog-1");
    let address = listener.local_addr().to_string();
    let error = tokio::select! {
        result = connect(&address, &fog, Protocol::Clip, Role::Bridge) => result.unwrap_err(),
        peer = listener.accept() => panic!("{peer:?} was let in"),
    };
    assert!(matches!(error, LinkError::Handshake { .. }), "{error}");
}

#[tokio::test]
async fn a_length_over_its_cap_is_refused_before_allocation() {
    let bench = Bench::new();
    let mut listener = bench.listen();
    let fog = bench.site.credentials(Role::Fog, "fog-1");
    let (client, server) = tokio::join!(dial(listener.local_addr(), &fog), listener.accept());
    let (client, server) = (client.unwrap(), server.unwrap());
    // Only the length ever arrives: whoever waited for that many bytes, or asked for the memory, would hang or die.
    let length = u32::try_from(MESSAGE_BYTES_MAX).unwrap() + 1;
    let mut sending = client.open_channel().await.unwrap();
    sending.send_bytes(&length.to_be_bytes()).await.unwrap();
    let mut receiving = server.accept_channel().await.unwrap();
    let error = receiving.recv::<CommitMessage>().await.unwrap_err();
    assert!(
        matches!(error, LinkError::Message { source: WireError::TooLong(n), .. } if n == length as usize),
        "{error}"
    );
    let error = receiving.recv_bytes(u64::MAX, 100).await.unwrap_err();
    assert!(matches!(error, LinkError::TooLong { length: u64::MAX, limit: 100, .. }), "{error}");
}
