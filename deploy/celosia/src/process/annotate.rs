//! Owns the annotated pictures of a run: the function is asked for them, frame by frame key, and what it wrote is read
//! from the object store. Nobody else asks, so there are none in a run without `--annotated`.

use std::{path::Path, time::Duration};

use axum::{
    body::Bytes,
    http::{Request, StatusCode},
};
use base::{Fault, Faulty, Shutdown};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use proto::result::FrameResult;
use results::FrameRow;
use serde_json::{Value, json};
use store::ResultReader;

use super::{ProcessError, files};
use crate::run::Running;

/// Frames of one request: some seconds of work for pictures of the largest size, within the function's time.
const FRAMES_AT_ONCE: usize = 16;
/// Longest wait for an answer: that of the function's host and something to spare.
const ANSWER_MAX: Duration = Duration::from_secs(40);
/// Most of an answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Why there is no annotated picture.
#[derive(Debug, thiserror::Error)]
pub enum AnnotateError {
    /// The function is away.
    #[error("the function cannot be reached: {0}")]
    Away(String),
    /// It does not make them.
    #[error("the function makes no annotated picture: {0}")]
    Refused(String),
}

impl Faulty for AnnotateError {
    fn fault(&self) -> Fault {
        match self {
            Self::Away(_) => Fault::Transient,
            Self::Refused(_) => Fault::Permanent,
        }
    }
}

/// A frame whose annotated picture is wanted: the frame, what is said of it, and the file relative to the folder.
pub(super) struct Wanted {
    pub(super) row: FrameRow,
    pub(super) result: Box<FrameResult>,
    pub(super) file: String,
}

/// Asks for the pictures and writes them into the folder.
pub(super) async fn pictures(
    running: &Running,
    wanted: &[Wanted],
    out: &Path,
    shutdown: &Shutdown,
) -> Result<(), ProcessError> {
    let function = Function::of(running);
    let reader = running.stored_results().await?;
    for some in wanted.chunks(FRAMES_AT_ONCE) {
        let frames: Vec<Value> = some.iter().map(|wanted| frame(&wanted.row)).collect();
        let event = json!({ "annotate": frames });
        let ask = async || function.invoke(&event).await;
        base::retry(shutdown, "ask for annotated pictures", ask).await?;
        for Wanted { result, file, .. } in some {
            let read = async || reader.annotated(result).await;
            let picture = base::retry(shutdown, "read an annotated picture", read).await?;
            files::write(out.join(file), picture).await?;
        }
    }
    Ok(())
}

fn frame(row: &FrameRow) -> Value {
    match row.within() {
        None => json!({ "key": row.key }),
        Some(within) => json!({ "key": row.key, "within": within }),
    }
}

/// The function's host of this machine.
struct Function {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
}

impl Function {
    fn of(running: &Running) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { client, url: running.site.ports.invoke_url() }
    }

    async fn invoke(&self, event: &Value) -> Result<(), AnnotateError> {
        let away = |error: &dyn std::fmt::Display| AnnotateError::Away(error.to_string());
        let request = Request::post(&self.url).header("content-type", "application/json");
        let body = Full::new(Bytes::from(event.to_string()));
        let request = request.body(body).map_err(|e| away(&e))?;
        let answer = async {
            let (head, body) =
                self.client.request(request).await.map_err(|e| away(&e))?.into_parts();
            let body =
                Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|e| away(&e))?;
            Ok::<_, AnnotateError>((head.status, body.to_bytes()))
        };
        let (status, body) =
            tokio::time::timeout(ANSWER_MAX, answer).await.map_err(|e| away(&e))??;
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            return Err(away(&status));
        }
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        match answer.get("errorMessage") {
            None if status.is_success() => Ok(()),
            Some(why) => Err(AnnotateError::Refused(why.to_string())),
            None => Err(AnnotateError::Refused(status.to_string())),
        }
    }
}
