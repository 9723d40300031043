//! Owns where the object store is: the `[store]` table of every configuration that has one.

use serde::Deserialize;

/// Where the object store is. Keys come from the standard AWS environment, never from our files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Base URL of a server that is not Amazon's, such as `http://127.0.0.1:9000`; then buckets stand in the path.
    pub endpoint: Option<String>,
    /// Region, which is part of every signature; `us-east-1` where the server does not care.
    pub region: String,
    /// Bucket of the frames.
    pub frames_bucket: String,
    /// Bucket of the results.
    pub results_bucket: String,
}

/// Lengths of bucket names on S3.
const BUCKET_LENGTHS: std::ops::RangeInclusive<usize> = 3..=63;

impl Settings {
    /// What is wrong with the values, one line each; nothing when all is well.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(endpoint) = &self.endpoint
            && !["http://", "https://"].iter().any(|scheme| endpoint.starts_with(scheme))
        {
            problems.push(format!(
                "store.endpoint {endpoint:?}: write http://HOST:PORT or https://HOST"
            ));
        }
        if self.region.is_empty() {
            problems.push("store.region: is empty".to_owned());
        }
        for (key, name) in
            [("frames_bucket", &self.frames_bucket), ("results_bucket", &self.results_bucket)]
        {
            let plain = name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'));
            if !plain || !BUCKET_LENGTHS.contains(&name.len()) {
                problems.push(format!("store.{key} {name:?}: use 3 to 63 of a-z, 0-9, - and ."));
            }
        }
        if self.frames_bucket == self.results_bucket {
            problems.push("store: frames and results need a bucket each".to_owned());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_are_told_all_at_once() {
        let settings = Settings {
            endpoint: Some("127.0.0.1:9000".into()),
            region: String::new(),
            frames_bucket: "A/B".into(),
            results_bucket: "A/B".into(),
        };
        let told = settings.problems().join("\n");
        for part in ["endpoint", "region", "frames_bucket", "results_bucket", "a bucket each"] {
            assert!(told.contains(part), "{part} is not in: {told}");
        }
        let settings = Settings {
            endpoint: Some("http://127.0.0.1:9000".into()),
            region: "us-east-1".into(),
            frames_bucket: "frames".into(),
            results_bucket: "results".into(),
        };
        assert!(settings.problems().is_empty());
    }
}
