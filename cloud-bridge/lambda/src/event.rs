//! Owns the shapes in which news of objects arrives: S3 events with one or more records, S3's test event, and both of
//! them inside messages of SQS. And of the one thing that a person asks for: annotated pictures.
//!
//! Keys are decoded here. A record that tells of no new object (a removal, a folder marker) is not an arrival; a record
//! that cannot be read fails the whole event, since nobody would notice it otherwise.

use aws_lambda_events::{
    s3::S3EventRecord,
    sqs::{SqsEvent, SqsMessage},
};
use proto::pack::Within;
use serde::Deserialize;
use serde_json::Value;

/// Most annotated pictures of one request: as many as a clip has frames; each takes a tenth of a second.
const PICTURES_MAX: usize = proto::limits::SLOTS_MAX;
/// Most records of one event. S3 sends one, SQS up to 10,000 messages; a frame takes milliseconds.
const RECORDS_MAX: usize = 10_000;

/// Why an event was not understood.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Neither of S3 nor of SQS.
    #[error("event of unknown form: it needs `Records` of aws:s3 or aws:sqs, or `annotate`")]
    Unknown,
    /// A record is not as its source writes it.
    #[error("record {at} of the event is not of the expected form: {why}")]
    Record {
        /// Its number.
        at: usize,
        /// What is wrong.
        why: String,
    },
}

/// A new object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Its bucket.
    pub bucket: String,
    /// Its key, decoded.
    pub key: String,
    /// How often it was asked for, with this time, where whoever asks says so: the bridge does, an object store does not.
    pub tries: u32,
}

/// A frame whose annotated picture is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    /// Key of the frame.
    pub key: String,
    /// Where it lies in the pack of its clip; absent when it is an object of its own.
    pub within: Option<Within>,
}

/// A message of SQS.
#[derive(Debug)]
pub struct Message {
    /// By which its failure is told.
    pub id: String,
    /// How often it was received, with this time.
    pub tries: u32,
    /// What it tells of.
    pub arrivals: Result<Vec<Arrival>, EventError>,
}

/// An event.
#[derive(Debug)]
pub enum Event {
    /// From S3 itself.
    S3(Vec<Arrival>),
    /// From a queue: each message fails on its own.
    Sqs(Vec<Message>),
    /// From a person: `{"annotate": [{"key": ...}]}`. No object store sends this.
    Annotate(Vec<Picture>),
}

impl Event {
    /// Reads an event.
    ///
    /// # Errors
    /// When it is of no known form. A message of SQS that is not understood is one of its messages' errors.
    pub fn read(event: &Value) -> Result<Self, EventError> {
        if is_test(event) {
            return Ok(Self::S3(Vec::new()));
        }
        if let Some(pictures) = event.get("annotate") {
            return annotate(pictures).map(Self::Annotate);
        }
        let records = records(event)?;
        if source(records) == Some("aws:sqs") {
            let event: SqsEvent = serde_json::from_value(event.clone())
                .map_err(|e| EventError::Record { at: 0, why: e.to_string() })?;
            return Ok(Self::Sqs(event.records.into_iter().map(message).collect()));
        }
        s3(records).map(Self::S3)
    }
}

/// `s3:TestEvent`, which S3 sends when a notification is configured.
fn is_test(event: &Value) -> bool {
    event.get("Event").and_then(Value::as_str) == Some("s3:TestEvent")
}

fn annotate(pictures: &Value) -> Result<Vec<Picture>, EventError> {
    let pictures: Vec<Picture> = serde_json::from_value(pictures.clone())
        .map_err(|e| EventError::Record { at: 0, why: e.to_string() })?;
    if pictures.len() > PICTURES_MAX {
        return Err(EventError::Record { at: PICTURES_MAX, why: "too many of them".to_owned() });
    }
    Ok(pictures)
}

fn records(event: &Value) -> Result<&[Value], EventError> {
    let records = event.get("Records").and_then(Value::as_array).ok_or(EventError::Unknown)?;
    if records.len() > RECORDS_MAX {
        return Err(EventError::Record { at: RECORDS_MAX, why: "too many of them".to_owned() });
    }
    Ok(records)
}

fn source(records: &[Value]) -> Option<&str> {
    records.first()?.get("eventSource")?.as_str()
}

fn s3(records: &[Value]) -> Result<Vec<Arrival>, EventError> {
    let mut arrivals: Vec<Arrival> = Vec::new();
    for (at, record) in records.iter().enumerate() {
        let wrong = |why: &dyn std::fmt::Display| EventError::Record { at, why: why.to_string() };
        let tries = record.get("tries").and_then(Value::as_u64).unwrap_or(1);
        if record.get("eventSource").and_then(Value::as_str) != Some("aws:s3") {
            return Err(EventError::Unknown);
        }
        let record: S3EventRecord =
            serde_json::from_value(record.clone()).map_err(|e| wrong(&e))?;
        if !record.event_name.is_some_and(|name| name.starts_with("ObjectCreated:")) {
            tracing::info!(at, "a record tells of no new object");
            continue;
        }
        let bucket = record.s3.bucket.name.ok_or_else(|| wrong(&"no bucket"))?;
        let key = record.s3.object.key.ok_or_else(|| wrong(&"no key"))?;
        let key = url_decode(&key).ok_or_else(|| wrong(&"its key is not URL-encoded"))?;
        if key.ends_with('/') {
            tracing::info!(at, key, "a folder marker is no object of ours");
            continue;
        }
        let tries = u32::try_from(tries).unwrap_or(u32::MAX);
        // S3 delivers at least once, and a batch can hold both.
        let same = |known: &&mut Arrival| known.bucket == bucket && known.key == key;
        match arrivals.iter_mut().find(same) {
            Some(known) => known.tries = known.tries.max(tries),
            None => arrivals.push(Arrival { bucket, key, tries }),
        }
    }
    Ok(arrivals)
}

fn message(message: SqsMessage) -> Message {
    let SqsMessage { message_id, body, attributes, .. } = message;
    let tries = attributes.get("ApproximateReceiveCount").and_then(|text| text.parse().ok());
    let arrivals = serde_json::from_str::<Value>(&body.unwrap_or_default())
        .map_err(|e| EventError::Record { at: 0, why: e.to_string() })
        .and_then(|body| if is_test(&body) { Ok(Vec::new()) } else { s3(records(&body)?) });
    Message { id: message_id.unwrap_or_default(), tries: tries.unwrap_or(1), arrivals }
}

/// A key as it was before S3 form-encoded it: `+` is a space, `%XX` a byte.
fn url_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let value = digit(rest.next())? * 16 + digit(rest.next())?;
                u8::try_from(value).ok()?
            }
            _ => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decoded_as_forms_are() {
        assert_eq!(url_decode("a/b-1.jpg").as_deref(), Some("a/b-1.jpg"));
        assert_eq!(url_decode("cam+1/%C3%A4%2Bb").as_deref(), Some("cam 1/ä+b"));
        for wrong in ["%", "%C", "%zz", "%ff"] {
            assert_eq!(url_decode(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_event_is_refused_with_what_is_expected() {
        for wrong in ["{}", "[]", "3", r#"{"Records":3}"#, r#"{"Records":[{"eventSource":"x"}]}"#] {
            let event = serde_json::from_str(wrong).unwrap();
            let error = Event::read(&event).unwrap_err().to_string();
            assert!(error.contains("aws:s3"), "{wrong}: {error}");
        }
        let bare = serde_json::json!({ "Records": [{ "eventSource": "aws:s3" }] });
        assert!(matches!(Event::read(&bare), Err(EventError::Record { at: 0, .. })));
        assert!(matches!(Event::read(&serde_json::json!({ "Records": [] })), Ok(Event::S3(_))));
    }
}
