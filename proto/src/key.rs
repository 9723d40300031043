//! Owns object keys: where a frame, the pack of its clip and their results lie, as a function of the signed manifest
//! alone.

use crate::{CameraId, Digest, Manifest, SiteId, UtcTime};

/// First level of every frame key; also the only prefix that triggers inference.
pub const FRAMES: &str = "frames/v1/";
/// First level of every result key.
pub const RESULTS: &str = "results/v1/";
/// First level of every key of an annotated picture, among the results; written on request only.
pub const ANNOTATED: &str = "annotated/v1/";
/// First level of every key at which is written, among the results, why an object has none.
pub const DEAD_LETTERS: &str = "dead-letters/v1/";

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

fn clip_stem(manifest: &Manifest) -> String {
    let clip = &manifest.frame.clip;
    let hour = hour(&clip.site, &clip.camera, manifest.clip_captured_at);
    format!("{hour}{}-{}", clip.session, clip.seq)
}

fn stem(manifest: &Manifest) -> String {
    format!("{}-{}", clip_stem(manifest), manifest.frame.slot)
}

/// `frames/v1/{site}/{camera}/{yyyy}/{mm}/{dd}/{hh}/{session}-{seq}-{slot}.jpg`, in UTC.
#[must_use]
pub fn frame_key(manifest: &Manifest) -> String {
    format!("{FRAMES}{}.jpg", stem(manifest))
}

/// `frames/v1/{site}/{camera}/{yyyy}/{mm}/{dd}/{hh}/{session}-{seq}.tar`: where all frames of a clip lie as one object.
/// It is the same for each of them.
#[must_use]
pub fn pack_key(manifest: &Manifest) -> String {
    format!("{FRAMES}{}.tar", clip_stem(manifest))
}

/// The key of the pack that a frame would lie in, from the frame's own key; nothing when that is none.
#[must_use]
pub fn pack_of(frame_key: &str) -> Option<String> {
    let stem = frame_key.strip_prefix(FRAMES)?.strip_suffix(".jpg")?;
    let (clip, _slot) = stem.rsplit_once('-')?;
    Some(format!("{FRAMES}{clip}.tar"))
}

/// The prefix of the results for one pack, whatever the model; nothing when the key is no pack's.
#[must_use]
pub fn pack_results_prefix(pack_key: &str) -> Option<String> {
    let stem = pack_key.strip_prefix(FRAMES)?.strip_suffix(".tar")?;
    Some(format!("{RESULTS}{stem}/"))
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

/// `annotated/v1/{same stem}/{model digest}.jpg`: where the annotated picture of a frame is; nothing when the key is no
/// frame key.
#[must_use]
pub fn annotated_key(frame_key: &str, model: &Digest) -> Option<String> {
    let stem = frame_key.strip_prefix(FRAMES)?.strip_suffix(".jpg")?;
    Some(format!("{ANNOTATED}{stem}/{model}.jpg"))
}

/// Where is written why the object at `key` has no result: `dead-letters/v1/{stem}.json`, and for what can be the key of
/// neither frame nor pack the digest of the key under `dead-letters/v1/other/`.
#[must_use]
pub fn dead_letter_key(key: &str) -> String {
    let rest = key.strip_prefix(FRAMES);
    let stem = rest.and_then(|r| r.strip_suffix(".jpg").or_else(|| r.strip_suffix(".tar")));
    let part = |part: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=STEM_PART_BYTES_MAX).contains(&part.len()) && part.bytes().all(plain)
    };
    match stem {
        Some(stem) if stem.split('/').count() == STEM_PARTS && stem.split('/').all(part) => {
            format!("{DEAD_LETTERS}{stem}.json")
        }
        Some(_) | None => format!("{DEAD_LETTERS}other/{}.json", Digest::of(key.as_bytes())),
    }
}

/// Parts of a stem: site, camera, year, month, day, hour, and the frame's own.
const STEM_PARTS: usize = 7;
/// Longest part of a stem: the frame's own, a session of 32 digits and two numbers of 20.
const STEM_PART_BYTES_MAX: usize = 74;

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
        let annotated = annotated_key(&frame_key(&manifest), &model);
        assert_eq!(annotated, Some(format!("annotated/v1/{stem}/{model}.jpg")));
        let clip = &manifest.frame.clip;
        assert!(prefix.starts_with(&results_hour_prefix(
            &clip.site,
            &clip.camera,
            manifest.captured_at
        )));
    }

    #[test]
    fn a_pack_has_one_key_for_all_frames_of_its_clip_and_none_of_another() {
        let manifest = example();
        let stem = "town/cam-1/2026/11/24/12/000102030405060708090a0b0c0d0e0f-7";
        let pack = pack_key(&manifest);
        assert_eq!(pack, format!("frames/v1/{stem}.tar"));
        let mut other = example();
        other.frame.slot += 1;
        // A frame that was captured in the next hour lies with its clip.
        other.captured_at = manifest.captured_at.plus_ns(3_600_000_000_000);
        assert_eq!(pack_key(&other), pack);
        assert_eq!(pack_of(&frame_key(&other)).as_deref(), Some(pack.as_str()));
        other.frame.clip.seq += 1;
        assert_ne!(pack_key(&other), pack);
        assert_eq!(pack_results_prefix(&pack), Some(format!("results/v1/{stem}/")));
        assert_eq!(dead_letter_key(&pack), format!("dead-letters/v1/{stem}.json"));
        for wrong in ["", "x.tar", "frames/v1/a/b-1.jpg"] {
            assert_eq!(pack_results_prefix(wrong), None, "{wrong}");
        }
        assert_eq!(pack_of(&pack), None);
        assert_eq!(results_prefix(&pack), None, "a pack is no frame");
    }

    #[test]
    fn a_dead_letter_lies_at_the_frames_stem_or_at_the_digest_of_a_key_that_is_none() {
        let frame = frame_key(&example());
        let letter = dead_letter_key(&frame);
        assert_eq!(letter, frame.replace(FRAMES, DEAD_LETTERS).replace(".jpg", ".json"));
        let longest = format!("{}-{}-{}", "0".repeat(32), u64::MAX, u64::MAX);
        assert_eq!(longest.len(), STEM_PART_BYTES_MAX);
        for other in ["", "frames/v1/../x.jpg", "frames/v1/a b.jpg", "x.jpg", "frames/v1/a/b.jpg"] {
            let letter = dead_letter_key(other);
            assert_eq!(
                letter,
                format!("{DEAD_LETTERS}other/{}.json", Digest::of(other.as_bytes()))
            );
        }
    }
}
