//! Every bound that two processes share, each with its reason. A process may be stricter, never looser.

/// Longest name of a site, camera or device, in bytes: it becomes an object key, a topic level and a certificate name.
pub const NAME_BYTES_MAX: usize = 63;
/// Largest clip, in bytes: a whole clip is held in memory by edge, fog parent and worker at once.
pub const CLIP_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Longest clip, in nanoseconds (60 s): bounds what a crash of the open clip can lose.
pub const CLIP_NS_MAX: i64 = 60_000_000_000;
/// Widest picture that is decoded, in pixels (4K UHD).
pub const PICTURE_WIDTH_MAX: u32 = 3840;
/// Tallest picture that is decoded, in pixels (4K UHD).
pub const PICTURE_HEIGHT_MAX: u32 = 2160;
/// Raw clip bytes in flight in one fog node: four of the largest clips.
pub const FOG_INFLIGHT_BYTES_MAX: u64 = 4 * CLIP_BYTES_MAX;
/// Largest envelope, in bytes: a 4K JPEG at quality 90 stays under 3 MiB.
pub const ENVELOPE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Largest pack of a clip's envelopes, in bytes: at 1 Mbit/s it takes 50 s, within the time of one call of the store. A
/// clip with more travels frame by frame.
pub const PACK_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Most bytes of seals at the beginning of a pack: some 200 frames of five faces, or four crowds.
pub const PACK_HEADS_BYTES_MAX: usize = 1024 * 1024;
/// Most sampling slots in one clip: a slot each second of the longest clip, and four to spare.
pub const SLOTS_MAX: usize = 64;
/// Most faces in one frame; a frame with more is withheld, since a manifest must stay bounded.
pub const FACES_MAX: usize = 500;
/// Largest manifest, in bytes of JSON: [`FACES_MAX`] regions of 64 cells with room to spare.
pub const MANIFEST_BYTES_MAX: usize = 512 * 1024;
/// Largest control message on a QUIC channel, in bytes. Bulk bytes travel outside messages.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Largest MQTT payload, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// How long a fog node keeps the prefix of an interrupted upload, in milliseconds.
pub const RESUME_KEPT_MS: u64 = 60_000;
/// Attempts of one clip that may end in a crash or a time-out before the clip is quarantined.
pub const ATTEMPTS_MAX: u32 = 3;
/// Length of an epoch of the redaction noise, in seconds: one noise key per camera and epoch.
pub const NOISE_EPOCH_S: u64 = 15 * 60;
/// How long the bridge remembers the ids of committed clips, in days: longer than the longest edge retention.
pub const COMMITTED_KEPT_DAYS: u32 = 30;
/// Outbox quota of the bridge unless configured, in bytes.
pub const OUTBOX_BYTES_DEFAULT: u64 = 20_000_000_000;
/// How long an edge keeps a clip that the fog could not decode, in seconds: a decoder bug must not shred a day.
pub const UNDECODABLE_KEPT_S: u64 = 24 * 3600;
/// A step of the wall clock over this many nanoseconds (1 s) starts a new session.
pub const CLOCK_STEP_NS: i64 = 1_000_000_000;
