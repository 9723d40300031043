//! Owns the Lambda Invoke API, version 2015-03-31: events are queued, requests wait for their answer.
//!
//! Signatures are not checked: this listens on loopback, and whoever is on this machine may invoke. What an invocation
//! can do is bounded by the keys that the function has, and by the seal of what it reads.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use base::counters::Counters;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;

use super::{
    VERSION, count,
    queue::{Outcome, Queue},
};

/// Largest payload of a request, as on AWS.
const REQUEST_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Largest payload of an event, as on AWS.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// What the API needs.
#[derive(Debug, Clone)]
pub(super) struct Invocations {
    pub(super) name: String,
    pub(super) queue: Arc<Queue>,
    pub(super) counters: Arc<Counters>,
}

impl Invocations {
    pub(super) fn router(self) -> Router {
        Router::new()
            .route("/2015-03-31/functions/{name}/invocations", post(invoke))
            .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
            .with_state(self)
    }

    fn refuse(&self, status: StatusCode, kind: &str, message: &str) -> Response {
        self.counters.add(count::REFUSED, 1);
        let body = Json(json!({ "Type": "User", "Message": message }));
        (status, [("x-amzn-errortype", kind.to_owned())], body).into_response()
    }

    fn full(&self) -> Response {
        let message = "Rate Exceeded: the queue of this function is full";
        self.refuse(StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException", message)
    }
}

async fn invoke(
    State(api): State<Invocations>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if name != api.name {
        let message = format!("Function not found: {name}");
        return api.refuse(StatusCode::NOT_FOUND, "ResourceNotFoundException", &message);
    }
    let payload = if body.is_empty() { Bytes::from_static(b"{}") } else { body };
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&payload) {
        let message = format!("Could not parse request body into json: {error}");
        return api.refuse(StatusCode::BAD_REQUEST, "InvalidRequestContentException", &message);
    }
    let Some(id) = request_id() else {
        return api.refuse(
            StatusCode::INTERNAL_SERVER_ERROR,
            "ServiceException",
            "no random bytes",
        );
    };
    let kind = headers.get("x-amz-invocation-type").and_then(|value| value.to_str().ok());
    match kind.unwrap_or("RequestResponse") {
        "DryRun" => StatusCode::NO_CONTENT.into_response(),
        "Event" if payload.len() > EVENT_BYTES_MAX => {
            let message = format!("Events are of at most {EVENT_BYTES_MAX} bytes");
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            api.refuse(status, "RequestTooLargeException", &message)
        }
        "Event" => match api.queue.event(id.clone(), payload) {
            Ok(()) => {
                api.counters.add(count::EVENTS, 1);
                (StatusCode::ACCEPTED, [("x-amzn-requestid", id)]).into_response()
            }
            Err(_) => api.full(),
        },
        "RequestResponse" => match api.queue.request(id.clone(), payload) {
            Ok(answer) => {
                api.counters.add(count::REQUESTS, 1);
                answered(id, answer.await.ok())
            }
            Err(_) => api.full(),
        },
        other => {
            let message = format!("Invocation type {other:?}: use Event or RequestResponse");
            api.refuse(StatusCode::BAD_REQUEST, "InvalidParameterValueException", &message)
        }
    }
}

/// The answer of a function; nothing when the host dropped the invocation.
fn answered(id: String, outcome: Option<Outcome>) -> Response {
    let headers = [("x-amzn-requestid", id), ("x-amz-executed-version", VERSION.to_owned())];
    match outcome {
        Some(Outcome::Answer(body)) => (headers, body).into_response(),
        Some(Outcome::Failed(body)) => {
            (headers, [("x-amz-function-error", "Unhandled")], body).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, headers).into_response(),
    }
}

/// A random UUID, which is how AWS numbers invocations.
fn request_id() -> Option<String> {
    let mut bytes = [0u8; 16];
    SystemRandom::new().fill(&mut bytes).ok()?;
    let number = u128::from_be_bytes(bytes);
    // Version 4, variant 1.
    let number = number & !(0xF << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let digits = format!("{number:032x}");
    let (a, rest) = digits.split_at_checked(8)?;
    let (b, rest) = rest.split_at_checked(4)?;
    let (c, rest) = rest.split_at_checked(4)?;
    let (d, e) = rest.split_at_checked(4)?;
    Some(format!("{a}-{b}-{c}-{d}-{e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_a_random_uuid() {
        let (a, b) = (request_id().unwrap(), request_id().unwrap());
        assert_ne!(a, b);
        let parts: Vec<usize> = a.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(a.as_bytes()[14], b'4', "{a}");
        assert!(matches!(a.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{a}");
    }
}
