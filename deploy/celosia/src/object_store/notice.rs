//! Owns the news of a created object: the event as Amazon S3 words it, a bounded queue, and the posting to a function.
//!
//! An event can be lost: when the queue is full, the function is away for long, or this process dies. The bridge
//! notices frames that are overdue, so nothing here is durable.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    http::{Request, StatusCode, Uri},
};
use base::{Clock, Fault, Faulty, Shutdown, counters::Counters};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::json;
use time::{OffsetDateTime, macros::format_description};
use tokio::sync::mpsc;

use super::count;

/// Most events that wait: an hour of 14 cameras at one frame each 5 s, some 10 MB.
const QUEUE_MAX: usize = 10_000;
/// Longest wait for the answer to one event: it is only queued over there.
const POST_WAIT: Duration = Duration::from_secs(10);
/// Most of an answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A new object.
#[derive(Debug, Clone)]
pub(crate) struct Created<'a> {
    /// Its bucket.
    pub(crate) bucket: &'a str,
    /// Its key.
    pub(crate) key: &'a str,
    /// Its length.
    pub(crate) bytes: usize,
    /// MD5 of its bytes, hexadecimal.
    pub(crate) e_tag: &'a str,
    /// Whose key wrote it.
    pub(crate) principal: &'a str,
    /// The region that the writer signed for.
    pub(crate) region: &'a str,
}

/// Where events go, and which objects make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Objects of this bucket.
    pub bucket: String,
    /// Keys that begin with this.
    pub prefix: String,
    /// Invoke URL of the function.
    pub endpoint: Uri,
}

/// The queue's end on the side of the object store.
#[derive(Clone)]
pub(super) struct Notices {
    rule: Rule,
    queue: mpsc::Sender<Bytes>,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
}

impl std::fmt::Debug for Notices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Notices({:?})", self.rule)
    }
}

impl Notices {
    /// Starts the posting of events.
    pub(super) fn start(
        rule: Rule,
        clock: Arc<dyn Clock>,
        counters: Arc<Counters>,
        shutdown: &Shutdown,
    ) -> Self {
        let (queue, events) = mpsc::channel(QUEUE_MAX);
        let poster = Arc::new(Poster::new(rule.endpoint.clone()));
        shutdown.spawn(post_all(poster, events, Arc::clone(&counters), shutdown.clone()));
        Self { rule, queue, clock, counters }
    }

    /// Queues the event of a new object, where the rule asks for one.
    pub(super) fn tell(&self, created: &Created<'_>) {
        let Rule { bucket, prefix, .. } = &self.rule;
        if created.bucket != bucket || !created.key.starts_with(prefix) {
            return;
        }
        let event = event(created, self.clock.utc_micros());
        if self.queue.try_send(Bytes::from(event.to_string())).is_err() {
            self.counters.add(count::EVENTS_LOST, 1);
            tracing::warn!(key = created.key, "the queue is full, an event is lost");
        }
    }
}

/// The event as Amazon S3 words it, version 2.1 of its structure.
pub(crate) fn event(created: &Created<'_>, utc_micros: i64) -> serde_json::Value {
    let Created { bucket, key, bytes, e_tag, principal, region } = created;
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(utc_micros) * 1000);
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let form =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let at = at.format(form).unwrap_or_default();
    json!({ "Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": region,
        "eventTime": at,
        "eventName": "ObjectCreated:Put",
        "userIdentity": { "principalId": principal },
        "requestParameters": { "sourceIPAddress": "127.0.0.1" },
        "responseElements": { "x-amz-request-id": format!("{utc_micros:016X}") },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "celosia",
            "bucket": {
                "name": bucket,
                "ownerIdentity": { "principalId": "celosia" },
                "arn": format!("arn:aws:s3:::{bucket}"),
            },
            "object": {
                "key": url_encode(key),
                "size": bytes,
                "eTag": e_tag,
                "sequencer": format!("{utc_micros:018X}"),
            },
        },
    }] })
}

/// A key as it stands in an event: form encoding, but `/` stays.
fn url_encode(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'*' => {
                text.push(char::from(byte));
            }
            b' ' => text.push('+'),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// Why the function did not take an event.
#[derive(Debug, thiserror::Error)]
enum PostError {
    /// It is away, or its queue is full.
    #[error("the function cannot be reached or is full: {0}")]
    Away(String),
    /// It does not take this.
    #[error("the function refuses: {0}")]
    Refused(StatusCode),
}

impl Faulty for PostError {
    fn fault(&self) -> Fault {
        match self {
            Self::Away(_) => Fault::Transient,
            Self::Refused(_) => Fault::Permanent,
        }
    }
}

struct Poster {
    client: Client<HttpConnector, Full<Bytes>>,
    endpoint: Uri,
}

impl Poster {
    fn new(endpoint: Uri) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { client: Client::builder(TokioExecutor::new()).build(connector), endpoint }
    }

    async fn post(&self, event: &Bytes) -> Result<(), PostError> {
        let away = |error: &dyn std::fmt::Display| PostError::Away(error.to_string());
        let request = Request::post(self.endpoint.clone())
            .header("content-type", "application/json")
            .header("x-amz-invocation-type", "Event")
            .body(Full::new(event.clone()))
            .map_err(|e| away(&e))?;
        let answer = async {
            let answer = self.client.request(request).await.map_err(|e| away(&e))?;
            let (head, body) = answer.into_parts();
            // Read to the end, so that the connection can be used again.
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            body.map_err(|e| away(&e)).map(|_| head.status)
        };
        let status = tokio::time::timeout(POST_WAIT, answer).await.map_err(|e| away(&e))??;
        if status.is_success() {
            return Ok(());
        }
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            return Err(away(&status));
        }
        Err(PostError::Refused(status))
    }
}

/// Posts events one after the other: each is only queued by the function's host, which is quick.
async fn post_all(
    poster: Arc<Poster>,
    mut events: mpsc::Receiver<Bytes>,
    counters: Arc<Counters>,
    shutdown: Shutdown,
) {
    loop {
        let event = tokio::select! {
            biased;
            () = shutdown.requested() => break,
            event = events.recv() => event,
        };
        let Some(event) = event else { return };
        // The closure owns what it needs: one that borrows cannot be part of a task.
        let poster = Arc::clone(&poster);
        let post = move || {
            let (poster, event) = (Arc::clone(&poster), event.clone());
            async move { poster.post(&event).await }
        };
        match base::retry(&shutdown, "tell the function", post).await {
            Ok(()) => counters.add(count::EVENTS_POSTED, 1),
            Err(error) => {
                counters.add(count::EVENTS_LOST, 1);
                tracing::warn!(%error, "an event is lost");
            }
        }
    }
    // One try for what is queued; whatever is not taken is overdue for the bridge.
    events.close();
    while let Some(event) = events.recv().await {
        let posted = poster.post(&event).await.is_ok();
        counters.add(if posted { count::EVENTS_POSTED } else { count::EVENTS_LOST }, 1);
        if !posted {
            counters.add(count::EVENTS_LOST, events.len() as u64);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_worded_as_amazon_s3_words_it() {
        let created = Created {
            bucket: "frames",
            key: "frames/v1/town/cam 1/ä+b.jpg",
            bytes: 1024,
            e_tag: "d41d8cd98f00b204e9800998ecf8427e",
            principal: "bridge",
            region: "eu-south-2",
        };
        let event = event(&created, 1_795_521_600_250_999);
        let record = &event["Records"][0];
        assert_eq!(record["eventTime"], "2026-11-24T12:00:00.250Z");
        assert_eq!(record["eventName"], "ObjectCreated:Put");
        assert_eq!(record["awsRegion"], "eu-south-2");
        assert_eq!(record["s3"]["bucket"]["arn"], "arn:aws:s3:::frames");
        assert_eq!(record["s3"]["object"]["key"], "frames/v1/town/cam+1/%C3%A4%2Bb.jpg");
        assert_eq!(record["s3"]["object"]["size"], 1024);
    }
}
