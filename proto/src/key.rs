//! Owns object keys: where a frame and its results lie, as a function of the signed manifest alone.

use crate::{CameraId, Digest, Manifest, SiteId, UtcTime};

/// First level of every frame key; also the only prefix that triggers inference.
pub const FRAMES: &str = "frames/v1/";
/// First level of every result key.
pub const RESULTS: &str = "results/v1/";

fn hour(site: &SiteId, camera: &CameraId, at: UtcTime) -> String {
    let at = at.calendar();
    format!(
        "{site}/{camera}/{:04}/{:02}/{:02}/{:02}/",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour()
    )
}

fn stem(manifest: &Manifest) -> String {
    let clip = &manifest.frame.clip;
    let hour = hour(&clip.site, &clip.camera, manifest.clip_captured_at);
    format!("{hour}{}-{}-{}", clip.session, clip.seq, manifest.frame.slot)
}

/// `frames/v1/{site}/{camera}/{yyyy}/{mm}/{dd}/{hh}/{session}-{seq}-{slot}.jpg`, in UTC.
#[must_use]
pub fn frame_key(manifest: &Manifest) -> String {
    format!("{FRAMES}{}.jpg", stem(manifest))
}

/// `results/v1/{same stem}/{model digest}.json`.
#[must_use]
pub fn result_key(manifest: &Manifest, model: &Digest) -> String {
    format!("{RESULTS}{}/{model}.json", stem(manifest))
}

/// The prefix of the results for one frame key, whatever the model; nothing when the key is no frame key.
#[must_use]
pub fn results_prefix(frame_key: &str) -> Option<String> {
    let stem = frame_key.strip_prefix(FRAMES)?.strip_suffix(".jpg")?;
    Some(format!("{RESULTS}{stem}/"))
}

/// The prefix of all results of one camera and UTC hour.
#[must_use]
pub fn results_hour_prefix(site: &SiteId, camera: &CameraId, at: UtcTime) -> String {
    format!("{RESULTS}{}", hour(site, camera, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::example;

    #[test]
    fn keys_follow_from_the_manifest() {
        let manifest = example();
        let stem = "town/cam-1/2026/11/24/12/000102030405060708090a0b0c0d0e0f-7-14";
        assert_eq!(frame_key(&manifest), format!("frames/v1/{stem}.jpg"));
        let model = Digest::of(b"model");
        assert_eq!(result_key(&manifest, &model), format!("results/v1/{stem}/{model}.json"));
        let prefix = results_prefix(&frame_key(&manifest)).unwrap();
        assert!(result_key(&manifest, &model).starts_with(&prefix));
        let clip = &manifest.frame.clip;
        assert!(prefix.starts_with(&results_hour_prefix(
            &clip.site,
            &clip.camera,
            manifest.captured_at
        )));
    }
}
