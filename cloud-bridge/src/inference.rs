//! Owns the border to inference: asking for the result of an object, with the event that the object store would send.
//! Results never come back this way: they come through the object store.
//!
//! Inference is the same function, invoked through the same API, in the cloud or in a host beside the bridge. In the
//! cloud it is asked only for what is overdue, since the object store tells it of each object; beside the bridge for
//! everything, since the stores that cities run need not tell anybody.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use aws_sdk_lambda::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    primitives::Blob,
    types::InvocationType,
};
use base::{Clock, Fault, Faulty};
use proto::UtcTime;
use serde_json::json;

/// Longest reason of a failure that goes into an error line, in characters.
const WHY_CHARS_MAX: usize = 300;

/// Why inference does not take a frame.
#[derive(Debug, thiserror::Error)]
pub enum InferenceError {
    /// Away, overloaded or too slow.
    #[error("function {name}: not available: {why}")]
    Unavailable {
        /// The function.
        name: String,
        /// What it or the network says.
        why: String,
    },
    /// It does not let us, or is not there.
    #[error("function {name}: refuses: {why}; check its name and what our keys allow")]
    Refused {
        /// The function.
        name: String,
        /// What it says.
        why: String,
    },
}

impl Faulty for InferenceError {
    fn fault(&self) -> Fault {
        match self {
            Self::Unavailable { .. } => Fault::Transient,
            Self::Refused { .. } => Fault::Misuse,
        }
    }
}

/// Asks for results.
#[async_trait]
pub trait Inference: Send + Sync {
    /// Asks for the result of the object at this key, a frame or a pack; `tries` is how often it was asked for, with
    /// this time. Returns when the question was taken.
    ///
    /// # Errors
    /// When it was not.
    async fn ask(&self, object_key: &str, tries: u64) -> Result<(), InferenceError>;
}

/// The function: gets the event that Amazon S3 would have sent.
pub struct LambdaFunction {
    client: Client,
    name: String,
    region: String,
    bucket: String,
    clock: Arc<dyn Clock>,
}

impl LambdaFunction {
    /// The function of this name, at an endpoint that is not Amazon's where one is given. Frames are in `bucket`.
    pub async fn new(
        endpoint: Option<&str>,
        region: &str,
        name: &str,
        bucket: &str,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let client = Client::new(&store::s3::sdk_config(endpoint, region).await);
        let [name, region, bucket] = [name, region, bucket].map(str::to_owned);
        Self { client, name, region, bucket, clock }
    }

    fn event(&self, object_key: &str, tries: u64) -> serde_json::Value {
        let micros = self.clock.utc_micros();
        let at = UtcTime::from_micros(micros).unwrap_or(UtcTime::EPOCH);
        let bucket = &self.bucket;
        json!({ "Records": [{
            // Not of S3: the function sets aside what it fails on from the third try on, and may have another process
            // each time.
            "tries": tries,
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": self.region,
            "eventTime": at,
            "eventName": "ObjectCreated:Put",
            "userIdentity": { "principalId": "celosia-bridge" },
            "requestParameters": { "sourceIPAddress": "127.0.0.1" },
            "responseElements": { "x-amz-request-id": format!("{micros:016X}") },
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "celosia-overdue",
                "bucket": {
                    "name": bucket,
                    "ownerIdentity": { "principalId": "celosia" },
                    "arn": format!("arn:aws:s3:::{bucket}"),
                },
                "object": {
                    "key": url_encode(object_key),
                    "sequencer": format!("{micros:018X}"),
                },
            },
        }] })
    }
}

/// A key as it stands in an event: form encoding, but `/` stays.
fn url_encode(key: &str) -> String {
    key.bytes().fold(String::with_capacity(key.len()), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'*' => {
                text.push(char::from(byte));
            }
            b' ' => text.push('+'),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
        text
    })
}

#[async_trait]
impl Inference for LambdaFunction {
    async fn ask(&self, object_key: &str, tries: u64) -> Result<(), InferenceError> {
        let event = self.event(object_key, tries).to_string();
        let request = self.client.invoke().function_name(&self.name);
        let request = request.invocation_type(InvocationType::Event).payload(Blob::new(event));
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(&error)),
        }
    }
}

impl LambdaFunction {
    /// The one place where the API's answers become our kinds of fault.
    fn failed<E>(&self, error: &SdkError<E>) -> InferenceError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let (refused, why) = match (status, error) {
            (Some(408 | 409 | 429 | 500..), _) => (false, told(error)),
            (Some(_), SdkError::ServiceError(_)) => (true, told(error)),
            (Some(_), _) => (false, told(error)),
            (None, SdkError::ConstructionFailure(_)) => (true, told(error)),
            (None, SdkError::DispatchFailure(lost)) => {
                let may_pass = lost.is_io() || lost.is_timeout() || lost.as_other().is_some();
                (!may_pass, told(error))
            }
            (None, _) => (false, told(error)),
        };
        let name = self.name.clone();
        if refused {
            InferenceError::Refused { name, why }
        } else {
            InferenceError::Unavailable { name, why }
        }
    }
}

fn told<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let mut line = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        line.push_str(": ");
        line.push_str(&error.to_string());
        source = error.source();
    }
    if let Some(message) = error.as_service_error().and_then(ProvideErrorMetadata::message) {
        line.push_str(": ");
        line.push_str(message);
    }
    line.chars().take(WHY_CHARS_MAX).collect()
}

/// Inference that only remembers what it was asked, or is away: for tests.
#[derive(Debug, Default)]
pub struct MemoryInference {
    asked: Mutex<Vec<(String, u64)>>,
    away: std::sync::atomic::AtomicBool,
}

impl MemoryInference {
    /// Every key it was asked for, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().map(|(key, _)| key.clone()).collect()
    }

    /// How often it was told that it was asked for, question by question.
    #[must_use]
    pub fn tries(&self) -> Vec<u64> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().map(|(_, tries)| *tries).collect()
    }

    /// Takes nothing from now on, or takes questions again.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, std::sync::atomic::Ordering::SeqCst);
    }
}

#[async_trait]
impl Inference for MemoryInference {
    async fn ask(&self, object_key: &str, tries: u64) -> Result<(), InferenceError> {
        if self.away.load(std::sync::atomic::Ordering::SeqCst) {
            let why = "as planned".to_owned();
            return Err(InferenceError::Unavailable { name: "memory".to_owned(), why });
        }
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push((object_key.to_owned(), tries));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_an_event_is_form_encoded_but_for_its_slashes() {
        assert_eq!(url_encode("frames/v1/a-b_c.jpg"), "frames/v1/a-b_c.jpg");
        assert_eq!(url_encode("a b+é"), "a+b%2B%C3%A9");
    }
}
