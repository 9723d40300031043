//! Owns who may do what: every request is signed with one of the configured keys, and a key may do what its grants say
//! and nothing else.

use std::{collections::BTreeMap, fmt, str::FromStr};

use s3s::{
    S3Result,
    access::{S3Access, S3AccessContext},
    auth::{S3Auth, SecretKey},
    s3_error,
};

/// What may be done in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verb {
    /// Read an object.
    Get,
    /// Write one.
    Put,
    /// List keys.
    List,
}

/// One permission, written `get:BUCKET`, `put:BUCKET` or `list:BUCKET`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    verb: Verb,
    /// In which bucket.
    pub bucket: String,
}

impl FromStr for Grant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no permission: write get:, put: or list:BUCKET");
        let (verb, bucket) = text.split_once(':').ok_or_else(wrong)?;
        let verb = match verb {
            "get" => Verb::Get,
            "put" => Verb::Put,
            "list" => Verb::List,
            _ => return Err(wrong()),
        };
        Ok(Self { verb, bucket: bucket.to_owned() })
    }
}

/// The configured keys.
#[derive(Clone, Default)]
pub struct Keys(BTreeMap<String, (SecretKey, Vec<Grant>)>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.iter().map(|(id, (_, grants))| (id, grants));
        f.debug_map().entries(keys).finish()
    }
}

impl Keys {
    /// Adds a key; false when there is one of that id.
    #[must_use]
    pub fn add(&mut self, id: String, secret: &str, grants: Vec<Grant>) -> bool {
        self.0.insert(id, (SecretKey::from(secret), grants)).is_none()
    }

    /// Whether a key may do this.
    fn may(&self, id: &str, operation: &str, bucket: Option<&str>) -> bool {
        let verbs: &[Verb] = match operation {
            "GetObject" | "HeadObject" => &[Verb::Get],
            "PutObject" => &[Verb::Put],
            "ListObjectsV2" => &[Verb::List],
            // Says only that the bucket is there, which any of them says too.
            "HeadBucket" => &[Verb::Get, Verb::Put, Verb::List],
            _ => &[],
        };
        let granted = self.0.get(id).map(|(_, grants)| grants.as_slice()).unwrap_or_default();
        granted.iter().any(|g| verbs.contains(&g.verb) && Some(g.bucket.as_str()) == bucket)
    }
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, id: &str) -> S3Result<SecretKey> {
        let found = self.0.get(id).map(|(secret, _)| secret.clone());
        found.ok_or_else(|| s3_error!(InvalidAccessKeyId, "There is no such key"))
    }
}

#[async_trait::async_trait]
impl S3Access for Keys {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let (operation, path) = (context.s3_op().name(), context.s3_path());
        let bucket = path.as_object().map(|(bucket, _)| bucket).or_else(|| path.as_bucket());
        match context.credentials() {
            Some(who) if self.may(&who.access_key, operation, bucket) => Ok(()),
            Some(who) => {
                tracing::warn!(key = %who.access_key, operation, bucket, "not allowed");
                Err(s3_error!(AccessDenied, "This key may not do this"))
            }
            None => Err(s3_error!(AccessDenied, "The request is not signed")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_do_what_it_was_granted_in_that_bucket_and_nothing_else() {
        let mut keys = Keys::default();
        let grants = ["put:frames", "list:results"].map(|text| text.parse().unwrap());
        assert!(keys.add("bridge".to_owned(), "secret", grants.to_vec()));
        let may = |operation, bucket| keys.may("bridge", operation, bucket);
        assert!(may("PutObject", Some("frames")) && may("ListObjectsV2", Some("results")));
        assert!(may("HeadBucket", Some("frames")));
        for (operation, bucket) in [
            ("GetObject", Some("frames")),
            ("PutObject", Some("results")),
            ("DeleteObject", Some("frames")),
            ("CopyObject", Some("frames")),
            ("CreateBucket", Some("frames")),
            ("ListBuckets", None),
            ("PutObject", None),
        ] {
            assert!(!may(operation, bucket), "{operation} {bucket:?}");
        }
        assert!(!keys.may("other", "PutObject", Some("frames")));
    }

    #[test]
    fn permissions_that_are_none_are_refused_and_secrets_are_not_shown() {
        for wrong in ["frames", "delete:frames", "GET:frames", ""] {
            assert!(wrong.parse::<Grant>().is_err(), "{wrong:?}");
        }
        let mut keys = Keys::default();
        assert!(keys.add("a".to_owned(), "hush", vec![]));
        assert!(!keys.add("a".to_owned(), "hush", vec![]), "twice");
        assert!(!format!("{keys:?}").contains("hush"));
    }
}
