//! Owns an object store for tests: S3's protocol with signatures over a map in memory, on a loopback port. It can be
//! told to fail in the ways that a network and a busy server do. Never part of a product binary.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base::Shutdown;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::{
    Body, S3, S3Request, S3Response, S3Result,
    auth::SimpleAuth,
    dto::{
        GetObjectInput, GetObjectOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
        PutObjectInput, PutObjectOutput, StreamingBlob,
    },
    s3_error,
    service::{S3Service, S3ServiceBuilder},
};
use tokio::{net::TcpListener, sync::Notify};

use crate::Settings;

/// Access key id of every client of a test.
pub const KEY_ID: &str = "test";
/// Its secret.
pub const SECRET: &str = "a-secret-of-tests-and-nothing-else";
/// Bucket of frames.
pub const FRAMES_BUCKET: &str = "frames";
/// Bucket of results.
pub const RESULTS_BUCKET: &str = "results";
/// Larger than anything that a client of ours sends.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What the server does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Serves them.
    Sound,
    /// Breaks the connection.
    Away,
    /// Answers 503.
    Overloaded,
    /// Does not answer until the mode changes, and then breaks the connection.
    Silent,
    /// Serves the request and breaks the connection instead of answering.
    AnswerLost,
}

/// A request that was seen: method, path and query, and what it fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Such as `PUT`.
    pub method: String,
    /// Such as `/frames/frames/v1/...`, with the query.
    pub target: String,
    /// Bytes of an object that it was answered with.
    pub bytes: u64,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    seen: Vec<Seen>,
    objects: BTreeMap<(String, String), Vec<u8>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running server. It ends with the test's runtime.
#[derive(Debug, Clone)]
pub struct ObjectServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl ObjectServer {
    /// Starts a server on a port that the system chooses.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start(shutdown: &Shutdown) -> io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = State { mode: Mode::Sound, seen: Vec::new(), objects: BTreeMap::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() });
        let mut builder = S3ServiceBuilder::new(Objects(Arc::clone(&shared)));
        builder.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
        let service = builder.build();
        let (stop, serving) = (shutdown.clone(), Arc::clone(&shared));
        shutdown.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    biased;
                    () = stop.requested() => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((socket, _)) = accepted else { continue };
                let (service, shared, ended) = (service.clone(), serving.clone(), stop.clone());
                stop.spawn(async move {
                    let answer = service_fn(move |request| {
                        answer(service.clone(), Arc::clone(&shared), request)
                    });
                    let builder = Builder::new(TokioExecutor::new());
                    tokio::select! {
                        () = ended.requested() => {}
                        // A broken connection is what some modes are for.
                        _ = builder.serve_connection(TokioIo::new(socket), answer) => {}
                    }
                });
            }
        });
        Ok(Self { address, shared })
    }

    /// Settings of a client of this server.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            endpoint: Some(format!("http://{}", self.address)),
            region: "us-east-1".to_owned(),
            frames_bucket: FRAMES_BUCKET.to_owned(),
            results_bucket: RESULTS_BUCKET.to_owned(),
        }
    }

    /// Changes what it does with requests.
    pub fn set_mode(&self, mode: Mode) {
        self.shared.state().mode = mode;
        self.shared.changed.notify_waiters();
    }

    /// Puts bytes as somebody would who has the bucket's keys and is not us.
    pub fn plant(&self, bucket: &str, key: &str, bytes: Vec<u8>) {
        self.shared.state().objects.insert((bucket.to_owned(), key.to_owned()), bytes);
    }

    /// All keys of a bucket.
    #[must_use]
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let state = self.shared.state();
        let of_bucket = state.objects.keys().filter(|(of, _)| of == bucket);
        of_bucket.map(|(_, key)| key.clone()).collect()
    }

    /// An object.
    #[must_use]
    pub fn object(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        self.shared.state().objects.get(&(bucket.to_owned(), key.to_owned())).cloned()
    }

    /// Every request so far, in order; those that it did not serve included.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state().seen.clone()
    }
}

async fn answer(
    service: S3Service,
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> io::Result<Response<Body>> {
    let broken = || io::Error::other("broken, as planned");
    let changed = shared.changed.notified();
    let (mode, at) = {
        let mut state = shared.state();
        let (method, target) = (request.method().to_string(), request.uri().to_string());
        state.seen.push(Seen { method, target, bytes: 0 });
        (state.mode, state.seen.len() - 1)
    };
    match mode {
        Mode::Sound | Mode::AnswerLost => {}
        Mode::Away => return Err(broken()),
        Mode::Overloaded => {
            let answer = Response::builder().status(503).body(Body::from(SLOW_DOWN.to_owned()));
            return answer.map_err(io::Error::other);
        }
        Mode::Silent => {
            changed.await;
            return Err(broken());
        }
    }
    let answer = service.call(request.map(Body::from)).await;
    let length = answer.as_ref().ok().and_then(|answer| {
        let fetched = answer.headers().get("accept-ranges")?.to_str().ok()? == "bytes";
        answer.headers().get("content-length").filter(|_| fetched)?.to_str().ok()?.parse().ok()
    });
    if let Some(seen) = shared.state().seen.get_mut(at) {
        seen.bytes = length.unwrap_or(0);
    }
    if mode == Mode::AnswerLost {
        return Err(broken());
    }
    answer.map_err(|_| broken())
}

const SLOW_DOWN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
    <Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>";

/// The map behind the protocol.
struct Objects(Arc<Shared>);

fn check_bucket(bucket: &str) -> S3Result<()> {
    let known = [FRAMES_BUCKET, RESULTS_BUCKET].contains(&bucket);
    if known { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
}

#[async_trait::async_trait]
impl S3 for Objects {
    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let PutObjectInput { bucket, key, body, if_none_match, .. } = request.input;
        check_bucket(&bucket)?;
        let Some(body) = body else { return Err(s3_error!(IncompleteBody)) };
        let read = Body::from(body).store_all_limited(BODY_BYTES_MAX).await;
        let bytes = read.map_err(|_| s3_error!(IncompleteBody))?.to_vec();
        let mut state = self.0.state();
        let at = (bucket, key);
        if if_none_match.is_some_and(|condition| condition.is_any())
            && state.objects.contains_key(&at)
        {
            return Err(s3_error!(PreconditionFailed));
        }
        state.objects.insert(at, bytes);
        Ok(S3Response::new(PutObjectOutput::default()))
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let GetObjectInput { bucket, key, range, .. } = request.input;
        check_bucket(&bucket)?;
        let found = self.0.state().objects.get(&(bucket, key)).cloned();
        let mut bytes = found.ok_or_else(|| s3_error!(NoSuchKey))?;
        if let Some(range) = range {
            let part = range.check(bytes.len() as u64).map_err(|_| s3_error!(InvalidRange))?;
            let (start, end) = (usize::try_from(part.start), usize::try_from(part.end));
            bytes.truncate(end.unwrap_or(usize::MAX));
            bytes.drain(..start.unwrap_or(0));
        }
        let content_length = i64::try_from(bytes.len()).ok();
        let body = Some(StreamingBlob::from(Body::from(bytes)));
        let accept_ranges = Some("bytes".to_owned());
        let output = GetObjectOutput { body, content_length, accept_ranges, ..Default::default() };
        Ok(S3Response::new(output))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let ListObjectsV2Input { bucket, prefix, start_after, max_keys, .. } = request.input;
        check_bucket(&bucket)?;
        let (prefix, after) = (prefix.unwrap_or_default(), start_after.unwrap_or_default());
        let most = usize::try_from(max_keys.unwrap_or(1000)).unwrap_or(0);
        let state = self.0.state();
        let fitting = state.objects.keys().filter(|(of, key)| {
            *of == bucket && key.starts_with(&prefix) && key.as_str() > after.as_str()
        });
        let mut keys: Vec<String> = fitting.map(|(_, key)| key.clone()).take(most + 1).collect();
        let is_truncated = Some(keys.len() > most);
        keys.truncate(most);
        let object = |key| Object { key: Some(key), ..Default::default() };
        let contents = Some(keys.into_iter().map(object).collect());
        let output = ListObjectsV2Output { contents, is_truncated, ..Default::default() };
        Ok(S3Response::new(output))
    }
}
