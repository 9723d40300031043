//! Owns every word that an operator reads. Another language is another [`Texts`]; nothing else has words in it.

use std::time::Duration;

use proto::{
    control::{CameraState, Presence},
    result::FaceLabel,
    time::ClockSource,
};
use results::Event;

/// The words of one language that stand alone. Sentences with numbers in them are the functions below.
#[derive(Debug)]
#[expect(missing_docs, reason = "each name is its own description; the words stand below")]
pub struct Texts {
    pub language: &'static str,
    pub product: &'static str,
    pub skip: &'static str,
    pub navigation: &'static str,
    pub overview: &'static str,
    pub sign_ins: &'static str,
    pub sign_in: &'static str,
    pub sign_out: &'static str,
    pub signed_in_as: &'static str,
    pub name: &'static str,
    pub password: &'static str,
    pub login_lead: &'static str,
    pub login_wrong: &'static str,
    pub login_form_old: &'static str,
    pub no_users: &'static str,
    pub updated: &'static str,
    pub pause: &'static str,
    pub resume: &'static str,
    pub connection_lost: &'static str,
    pub period: &'static str,
    pub window_hour: &'static str,
    pub window_day: &'static str,
    pub window_week: &'static str,
    pub window_all: &'static str,
    pub at_a_glance: &'static str,
    pub share_without: &'static str,
    pub interval: &'static str,
    pub faces_counted: &'static str,
    pub frames_analysed: &'static str,
    pub waiting: &'static str,
    pub dead: &'static str,
    pub withheld_slots: &'static str,
    pub cameras: &'static str,
    pub camera: &'static str,
    pub no_cameras: &'static str,
    pub gateway: &'static str,
    pub newest_frame: &'static str,
    pub never: &'static str,
    pub unknown: &'static str,
    pub counts: &'static str,
    pub nothing_counted: &'static str,
    pub ledger: &'static str,
    pub ledger_lead: &'static str,
    pub ledger_balances: &'static str,
    pub ledger_unbalanced: &'static str,
    pub ledger_database: &'static str,
    pub captured: &'static str,
    pub delivered: &'static str,
    pub withheld: &'static str,
    pub undecodable: &'static str,
    pub held: &'static str,
    pub dropped: &'static str,
    pub minutes: &'static str,
    pub slots: &'static str,
    pub newest_frames: &'static str,
    pub no_frames: &'static str,
    pub older: &'static str,
    pub newer: &'static str,
    pub newest: &'static str,
    pub legend: &'static str,
    pub legend_lead: &'static str,
    pub waiting_frames: &'static str,
    pub waiting_lead: &'static str,
    pub nothing_waits: &'static str,
    pub timeline: &'static str,
    pub timeline_empty: &'static str,
    pub as_table: &'static str,
    pub time_utc: &'static str,
    pub frames: &'static str,
    pub frame: &'static str,
    pub faces: &'static str,
    pub face: &'static str,
    pub no_faces: &'static str,
    pub unseen: &'static str,
    pub unseen_lead: &'static str,
    pub nothing_unseen: &'static str,
    pub reason: &'static str,
    pub outcome: &'static str,
    pub explain: &'static str,
    pub identity: &'static str,
    pub frame_id: &'static str,
    pub clip: &'static str,
    pub session: &'static str,
    pub clip_number: &'static str,
    pub slot: &'static str,
    pub captured_at: &'static str,
    pub clip_began: &'static str,
    pub clock: &'static str,
    pub picture: &'static str,
    pub object_key: &'static str,
    pub seal: &'static str,
    pub seal_good: &'static str,
    pub seal_bad: &'static str,
    pub seal_unread: &'static str,
    pub redaction: &'static str,
    pub policy: &'static str,
    pub detector: &'static str,
    pub auditor: &'static str,
    pub noise: &'static str,
    pub regions: &'static str,
    pub classification: &'static str,
    pub classifier: &'static str,
    pub placement: &'static str,
    pub placement_lambda: &'static str,
    pub placement_fog: &'static str,
    pub result_at: &'static str,
    pub result_json: &'static str,
    pub manifest_json: &'static str,
    pub label: &'static str,
    pub score: &'static str,
    pub in_counts: &'static str,
    pub yes: &'static str,
    pub no: &'static str,
    pub box_of_face: &'static str,
    pub not_a_face: &'static str,
    pub mask: &'static str,
    pub no_mask: &'static str,
    pub incorrect: &'static str,
    pub uncertain: &'static str,
    pub state_waiting: &'static str,
    pub state_done: &'static str,
    pub state_dead: &'static str,
    pub broker_away: &'static str,
    pub broker_none: &'static str,
    pub store_away: &'static str,
    pub processes: &'static str,
    pub process: &'static str,
    pub software: &'static str,
    pub heard: &'static str,
    pub audit_lead: &'static str,
    pub event: &'static str,
    pub address: &'static str,
    pub not_found: &'static str,
    pub not_found_lead: &'static str,
    pub database_away: &'static str,
    pub database_away_lead: &'static str,
    pub form_refused: &'static str,
    pub form_refused_lead: &'static str,
    pub too_many: &'static str,
    pub back: &'static str,
    pub privacy_note: &'static str,
    pub picture_missing: &'static str,
    pub picture_unsealed: &'static str,
    pub picture_away: &'static str,
}

/// English.
pub static EN: Texts = Texts {
    language: "en",
    product: "Celosia",
    skip: "Skip to content",
    navigation: "Main",
    overview: "Overview",
    sign_ins: "Sign-ins",
    sign_in: "Sign in",
    sign_out: "Sign out",
    signed_in_as: "Signed in as",
    name: "Name",
    password: "Password",
    login_lead: "Operators' console",
    login_wrong: "Name or password is wrong.",
    login_form_old: "This form was too old. Please try again.",
    no_users: "There is no operator yet. On the machine that runs the console: console add-user --config console.toml NAME",
    updated: "Updated",
    pause: "Pause updates",
    resume: "Resume updates",
    connection_lost: "The console does not answer. What you see is as of",
    period: "Period",
    window_hour: "Last hour",
    window_day: "Last 24 hours",
    window_week: "Last 7 days",
    window_all: "All",
    at_a_glance: "At a glance",
    share_without: "Without mask",
    interval: "95% interval",
    faces_counted: "Faces counted",
    frames_analysed: "Frames analysed",
    waiting: "Waiting for a result",
    dead: "Given up",
    withheld_slots: "Withheld for privacy",
    cameras: "Cameras",
    camera: "Camera",
    no_cameras: "No camera has been heard of yet. A camera appears here when its gateway is connected or its first clip arrives.",
    gateway: "Gateway",
    newest_frame: "Newest frame",
    never: "none yet",
    unknown: "unknown",
    counts: "Faces",
    nothing_counted: "Nothing counted in this period",
    ledger: "Ledger",
    ledger_lead: "Every captured sampling slot is accounted for.",
    ledger_balances: "Balances",
    ledger_unbalanced: "Does not balance",
    ledger_database: "From the database alone: what is held or dropped is known to the gateway, which is not heard.",
    captured: "Captured",
    delivered: "Delivered",
    withheld: "Withheld",
    undecodable: "Undecodable",
    held: "Held",
    dropped: "Dropped",
    minutes: "min",
    slots: "slots",
    newest_frames: "Newest frames",
    no_frames: "No frames yet.",
    older: "Older frames",
    newer: "Newer",
    newest: "Newest frames",
    legend: "Legend",
    legend_lead: "Every face is covered before it leaves the building. Boxes show what was read from the covered cells.",
    waiting_frames: "Frames without a result",
    waiting_lead: "A frame waits until its result arrives; after bounded tries it is given up and stays listed here.",
    nothing_waits: "Every frame has its result.",
    timeline: "Faces over time",
    timeline_empty: "No face was counted in this period.",
    as_table: "Show as table",
    time_utc: "Time (UTC)",
    frames: "Frames",
    frame: "Frame",
    faces: "Faces",
    face: "Face",
    no_faces: "No face was found in this frame.",
    unseen: "Slots without a frame",
    unseen_lead: "What privacy did not let out, and what could not be decoded, all time.",
    nothing_unseen: "Every slot gave a frame.",
    reason: "Reason",
    outcome: "Outcome",
    explain: "How this result came about",
    identity: "Identity",
    frame_id: "Frame",
    clip: "Clip",
    session: "Session",
    clip_number: "Clip number",
    slot: "Slot",
    captured_at: "Captured",
    clip_began: "Clip began",
    clock: "Clock",
    picture: "Picture",
    object_key: "Object",
    seal: "Seal",
    seal_good: "Verified against the site's seal root",
    seal_bad: "Not sealed by this site: not shown",
    seal_unread: "Not verified: the object store does not answer",
    redaction: "Redaction",
    policy: "Policy",
    detector: "Detector",
    auditor: "Auditor",
    noise: "Noise",
    regions: "Covered regions",
    classification: "Classification",
    classifier: "Classifier",
    placement: "Classified",
    placement_lambda: "in the function",
    placement_fog: "on the fog",
    result_at: "Result arrived",
    result_json: "Result as JSON",
    manifest_json: "Manifest as JSON",
    label: "Answer",
    score: "Detection score",
    in_counts: "In counts",
    yes: "yes",
    no: "no",
    box_of_face: "Box",
    not_a_face: "Not a face",
    mask: "Mask",
    no_mask: "No mask",
    incorrect: "Worn incorrectly",
    uncertain: "Uncertain",
    state_waiting: "Waiting",
    state_done: "Result",
    state_dead: "Given up",
    broker_away: "The message broker does not answer. The state of cameras is as old as shown; counts and frames are not affected.",
    broker_none: "No message broker is configured, so the state of cameras is not known.",
    store_away: "The object store does not answer. Pictures are not shown; counts and states are not affected.",
    processes: "Processes",
    process: "Process",
    software: "Software",
    heard: "Heard",
    audit_lead: "The newest sign-ins, refusals and sign-outs.",
    event: "Event",
    address: "From",
    not_found: "Not found",
    not_found_lead: "There is nothing at this address.",
    database_away: "The results database does not answer",
    database_away_lead: "Nothing can be shown until it does. Recording, redaction and delivery go on without the console.",
    form_refused: "This form was refused",
    form_refused_lead: "It did not come from this console's own page, or the page was too old. Go back and try again.",
    too_many: "Too many requests",
    back: "Back to the overview",
    privacy_note: "Pictures are redacted before they leave the building. No face can be shown here.",
    picture_missing: "Not in the object store",
    picture_unsealed: "Not sealed by this site: not shown",
    picture_away: "The object store does not answer",
};

impl Texts {
    /// What is said of a face.
    #[must_use]
    pub const fn of_label(&self, label: FaceLabel) -> &'static str {
        match label {
            FaceLabel::Mask => self.mask,
            FaceLabel::NoMask => self.no_mask,
            FaceLabel::Incorrect => self.incorrect,
            FaceLabel::Uncertain => self.uncertain,
            FaceLabel::NotAFace => self.not_a_face,
        }
    }

    /// What a camera does.
    #[must_use]
    pub const fn of_camera(&self, state: CameraState) -> &'static str {
        match state {
            CameraState::Recording => "Recording",
            CameraState::Paused => "Paused",
            CameraState::Reconnecting => "Reconnecting",
            CameraState::Finished => "Finished",
            CameraState::Failed => "Failed",
        }
    }

    /// Whether a process is there.
    #[must_use]
    pub const fn of_presence(&self, presence: Presence) -> &'static str {
        match presence {
            Presence::Online => "online",
            Presence::Offline => "offline",
        }
    }

    /// The state of a camera of which nothing is heard.
    #[must_use]
    pub const fn not_heard(&self) -> &'static str {
        "Not heard"
    }

    /// The state of a camera whose gateway is offline.
    #[must_use]
    pub const fn gateway_offline(&self) -> &'static str {
        "Gateway offline"
    }

    /// What happened.
    #[must_use]
    pub const fn of_event(&self, event: Event) -> &'static str {
        match event {
            Event::Login => "Signed in",
            Event::WrongPassword => "Wrong name or password",
            Event::Throttled => "Refused for a while",
            Event::Logout => "Signed out",
            Event::UserCreated => "User made",
            Event::PasswordChanged => "Password changed",
        }
    }

    /// Where a time comes from and how far it can be trusted.
    #[must_use]
    pub fn of_clock(&self, source: ClockSource, uncertainty_ms: Option<u32>) -> String {
        let source = match source {
            ClockSource::Rtcp => "camera's sender reports",
            ClockSource::System => "gateway's clock",
            ClockSource::File => "the file, or as stated",
            ClockSource::Unknown => "nobody knows: times count from 1970",
        };
        match uncertainty_ms {
            Some(ms) => format!("± {} s ({source})", f64::from(ms) / 1000.0),
            None => format!("uncertainty unknown ({source})"),
        }
    }

    /// How long ago.
    #[must_use]
    pub fn ago(&self, age: Duration) -> String {
        let seconds = age.as_secs();
        match seconds {
            0..=1 => "now".to_owned(),
            2..=119 => format!("{seconds} s ago"),
            120..=7_199 => format!("{} min ago", seconds / 60),
            7_200..=172_799 => format!("{} h ago", seconds / 3_600),
            _ => format!("{} days ago", seconds / 86_400),
        }
    }

    /// Until when logins are refused.
    #[must_use]
    pub fn throttled(&self, wait: Duration) -> String {
        let minutes = wait.as_secs().div_ceil(60).max(1);
        let unit = if minutes == 1 { "minute" } else { "minutes" };
        format!("Too many attempts. Please wait {minutes} {unit}.")
    }

    /// Of how many faces.
    #[must_use]
    pub fn of_faces(&self, n: &str) -> String {
        format!("of {n} faces")
    }

    /// How often the function was asked again.
    #[must_use]
    pub fn tries(&self, n: u64) -> String {
        match n {
            0 => "first try".to_owned(),
            1 => "asked again once".to_owned(),
            n => format!("asked again {n} times"),
        }
    }

    /// What a picture shows, for those who do not see it.
    #[must_use]
    pub fn picture_of(&self, camera: &str, time: &str, counts: Option<[u64; 4]>) -> String {
        match counts {
            None => {
                format!("Redacted picture of camera {camera}, {time} UTC, without a result yet")
            }
            Some([mask, no_mask, incorrect, uncertain]) => format!(
                "Redacted picture of camera {camera}, {time} UTC: {mask} with mask, {no_mask} \
                 without, {incorrect} worn incorrectly, {uncertain} uncertain"
            ),
        }
    }

    /// The noise of a redaction.
    #[must_use]
    pub fn noise_of(&self, scale: u8, epoch: u64) -> String {
        format!("scale {scale} grey levels, key epoch {epoch}")
    }

    /// The regions of a frame.
    #[must_use]
    pub fn regions_of(&self, regions: u64, grids: u64) -> String {
        format!("{regions}, of which {grids} with cells that can be read")
    }

    /// What the ledger counts.
    #[must_use]
    pub fn one_slot_each(&self, seconds: &str) -> String {
        format!("One slot each {seconds} s.")
    }

    /// How many faces more than fit.
    #[must_use]
    pub fn oldest_waits(&self, age: &str) -> String {
        format!("The longest waiting since {age}.")
    }

    /// The word of a reason for which a slot gave no frame.
    #[must_use]
    pub fn of_reason(&self, word: &str) -> String {
        match word {
            "detector" => "the face detector failed".to_owned(),
            "auditor" => "the auditor failed".to_owned(),
            "residual" => "the audit still found a face".to_owned(),
            "too_many_faces" => "more faces than a frame may hold".to_owned(),
            "encoding" => "drawing, encoding or sealing failed".to_owned(),
            "picture" => "the picture could not be decoded".to_owned(),
            "not_video" => "the clip is no video".to_owned(),
            "truncated" => "the clip ends early".to_owned(),
            "picture_too_large" => "pictures over the limit".to_owned(),
            "undecodable" => "no picture could be decoded".to_owned(),
            other => other.replace('_', " "),
        }
    }
}
