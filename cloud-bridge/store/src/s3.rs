//! Owns the object store over S3: Amazon's or any server that speaks it. The only file that names the SDK's S3 client.
//!
//! The SDK's own retries are off: `base::retry` tries again, watches shutdown and shows each failure, and two layers of
//! waiting would multiply. Its extra checksums are off as well, which many servers do not know: the signed digest of
//! the body already guards the upload, and the seal guards the frame for good.

use std::{future::Future, ops::Range, time::Duration};

use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_s3::{
    Client,
    config::{RequestChecksumCalculation, ResponseChecksumValidation},
    error::{ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
};
use aws_smithy_http_client::{Builder, tls};
use proto::{
    envelope::{HEAD_BYTES, SEGMENTS_MAX, SealedFrame, SealedHead},
    key,
    limits::ENVELOPE_BYTES_MAX,
    pack::Within,
    result::{CLIP_RESULT_BYTES_MAX, ClipResult, DeadLetter, FrameResult, RESULT_BYTES_MAX},
    signing::PublicKey,
};

use crate::{
    FrameReader, FrameWriter, PAGE_KEYS_MAX, Pack, Page, Put, ResultReader, ResultWriter, Settings,
    StoreError, codec, pack,
};

/// Longest time to a TCP connection: a store that is there answers within a second, a WAN within three.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time of one call with its body: 4 MiB at 1 Mbit/s take 34 s.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest seal: each segment of at most 64 KiB and its two marker bytes, after two bytes of SOI.
const LONGEST_HEAD_BYTES: usize = 2 + SEGMENTS_MAX * (65_535 + 2);
/// Longest reason of a failure that goes into an error line, in characters.
const WHY_CHARS_MAX: usize = 300;

/// How the SDK is set up, for this and other clients of a process: credentials and their profile from the standard
/// environment, TLS by rustls on ring, time-outs, no retries.
///
/// With an `http://` endpoint no certificate of the system is loaded, since none is needed.
pub async fn sdk_config(endpoint: Option<&str>, region: &str) -> SdkConfig {
    let plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    let http = if plain {
        Builder::new().build_http()
    } else {
        Builder::new()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .build_https()
    };
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .http_client(http)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts);
    if let Some(endpoint) = endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    loader.load().await
}

/// A client of the object store. Clones share its connections.
#[derive(Debug, Clone)]
pub struct S3 {
    client: Client,
    settings: Settings,
    patience: Duration,
}

impl S3 {
    /// A client; nothing is connected before the first call.
    pub async fn new(settings: &Settings) -> Self {
        let sdk = sdk_config(settings.endpoint.as_deref(), &settings.region).await;
        Self::configured(settings, aws_sdk_s3::config::Builder::from(&sdk))
    }

    /// A client with these keys instead of the environment's: for a process that drew them itself.
    pub async fn with_keys(settings: &Settings, key_id: &str, secret: &str) -> Self {
        let sdk = sdk_config(settings.endpoint.as_deref(), &settings.region).await;
        let keys = aws_sdk_s3::config::Credentials::new(key_id, secret, None, None, "celosia");
        let builder = aws_sdk_s3::config::Builder::from(&sdk).credentials_provider(keys);
        Self::configured(settings, builder)
    }

    fn configured(settings: &Settings, builder: aws_sdk_s3::config::Builder) -> Self {
        let config = builder
            .force_path_style(settings.endpoint.is_some())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        let client = Client::from_conf(config);
        Self { client, settings: settings.clone(), patience: CALL_TIMEOUT }
    }

    /// The same client with another limit on the time of one call, for tests, which do not wait for a minute.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn bucket(&self, bucket: &str) -> Bucket {
        let (client, patience) = (self.client.clone(), self.patience);
        Bucket { client, bucket: bucket.to_owned(), patience }
    }

    /// The frames; what is read is verified against this seal root.
    #[must_use]
    pub fn frames(&self, root: PublicKey) -> S3Frames {
        S3Frames { bucket: self.bucket(&self.settings.frames_bucket), root }
    }

    /// The results.
    #[must_use]
    pub fn results(&self) -> S3Results {
        S3Results { bucket: self.bucket(&self.settings.results_bucket) }
    }
}

/// Frames on S3.
#[derive(Debug, Clone)]
pub struct S3Frames {
    bucket: Bucket,
    root: PublicKey,
}

#[async_trait]
impl FrameWriter for S3Frames {
    async fn put_frame(&self, frame: &SealedFrame) -> Result<Put, StoreError> {
        let key = key::frame_key(frame.manifest());
        self.bucket.create(&key, frame.bytes().to_vec(), "image/jpeg").await
    }

    async fn put_pack(&self, pack: &Pack) -> Result<Put, StoreError> {
        self.bucket.create(pack.key(), pack.bytes().to_vec(), "application/x-tar").await
    }
}

#[async_trait]
impl FrameReader for S3Frames {
    async fn frame(&self, key: &str) -> Result<SealedFrame, StoreError> {
        codec::check_frame_key(key)?;
        let bytes = self.bucket.read(key, None, ENVELOPE_BYTES_MAX).await?;
        codec::open_frame(key, bytes, &self.root)
    }

    async fn head(&self, key: &str) -> Result<SealedHead, StoreError> {
        codec::check_frame_key(key)?;
        let first = self.bucket.first(key, HEAD_BYTES).await?;
        if let Some(head) = codec::open_head(key, &first, &self.root)? {
            return Ok(head);
        }
        let whole = self.bucket.first(key, LONGEST_HEAD_BYTES).await?;
        codec::open_whole_head(key, &whole, &self.root)
    }

    async fn frame_within(&self, key: &str, within: Within) -> Result<SealedFrame, StoreError> {
        let (pack, range) = codec::place_in_pack(key, within, ENVELOPE_BYTES_MAX)?;
        let bytes = self.bucket.read(&pack, Some(range), ENVELOPE_BYTES_MAX).await?;
        codec::open_frame(key, bytes, &self.root)
    }

    async fn head_within(&self, key: &str, within: Within) -> Result<SealedHead, StoreError> {
        let (pack, range) = codec::place_in_pack(key, within, HEAD_BYTES)?;
        let first = self.bucket.read(&pack, Some(range), HEAD_BYTES).await?;
        if let Some(head) = codec::open_head(key, &first, &self.root)? {
            return Ok(head);
        }
        let (pack, range) = codec::place_in_pack(key, within, LONGEST_HEAD_BYTES)?;
        let whole = self.bucket.read(&pack, Some(range), LONGEST_HEAD_BYTES).await?;
        codec::open_whole_head(key, &whole, &self.root)
    }

    async fn pack_heads(&self, pack_key: &str) -> Result<Vec<SealedHead>, StoreError> {
        codec::check_pack_key(pack_key)?;
        let first = self.bucket.first(pack_key, pack::FIRST_BYTES).await?;
        if let Some(heads) = pack::open_heads(pack_key, &first, &self.root)? {
            return Ok(heads);
        }
        let whole = self.bucket.first(pack_key, pack::LONGEST_FIRST_BYTES).await?;
        pack::open_all_heads(pack_key, &whole, &self.root)
    }
}

/// Results on S3.
#[derive(Debug, Clone)]
pub struct S3Results {
    bucket: Bucket,
}

#[async_trait]
impl ResultWriter for S3Results {
    async fn put_result(&self, result: &FrameResult) -> Result<Put, StoreError> {
        let (key, bytes) = codec::write_result(result)?;
        self.bucket.create(&key, bytes, "application/json").await
    }

    async fn put_clip_result(&self, result: &ClipResult) -> Result<Put, StoreError> {
        let (key, bytes) = codec::write_clip_result(result)?;
        self.bucket.create(&key, bytes, "application/json").await
    }

    async fn put_annotated(&self, result: &FrameResult, jpeg: &[u8]) -> Result<Put, StoreError> {
        let key = codec::annotated_key(result)?;
        codec::check_jpeg(&key, jpeg)?;
        self.bucket.create(&key, jpeg.to_vec(), "image/jpeg").await
    }

    async fn put_dead_letter(&self, letter: &DeadLetter) -> Result<Put, StoreError> {
        let (key, bytes) = codec::write_letter(letter)?;
        self.bucket.create(&key, bytes, "application/json").await
    }
}

#[async_trait]
impl ResultReader for S3Results {
    async fn result(&self, key: &str) -> Result<FrameResult, StoreError> {
        codec::check_results_key(key)?;
        let bytes = self.bucket.read(key, None, RESULT_BYTES_MAX).await?;
        codec::read_result(key, &bytes)
    }

    async fn clip_result(&self, key: &str) -> Result<ClipResult, StoreError> {
        codec::check_results_key(key)?;
        let bytes = self.bucket.read(key, None, CLIP_RESULT_BYTES_MAX).await?;
        codec::read_clip_result(key, &bytes)
    }

    async fn annotated(&self, result: &FrameResult) -> Result<Vec<u8>, StoreError> {
        let key = codec::annotated_key(result)?;
        let bytes = self.bucket.read(&key, None, ENVELOPE_BYTES_MAX).await?;
        codec::check_jpeg(&key, &bytes).map(|()| bytes)
    }

    async fn dead_letter(&self, object_key: &str) -> Result<Option<DeadLetter>, StoreError> {
        codec::check_object_key(object_key)?;
        let key = key::dead_letter_key(object_key);
        match self.bucket.read(&key, None, codec::DEAD_LETTER_BYTES_MAX).await {
            Ok(bytes) => codec::read_letter(object_key, &bytes).map(Some),
            Err(StoreError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn results(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        codec::check_results_key(prefix)?;
        self.bucket.list(prefix, after).await
    }
}

#[derive(Debug, Clone)]
struct Bucket {
    client: Client,
    bucket: String,
    patience: Duration,
}

impl Bucket {
    fn call<'a>(&'a self, action: &'static str, key: &'a str) -> Call<'a> {
        Call { action, key, bucket: &self.bucket, patience: self.patience }
    }

    async fn create(&self, key: &str, bytes: Vec<u8>, kind: &str) -> Result<Put, StoreError> {
        let call = self.call("put", key);
        let request = self.client.put_object().bucket(&self.bucket).key(key);
        let request = request.content_type(kind).if_none_match("*").body(ByteStream::from(bytes));
        call.within(async {
            match request.send().await {
                Ok(_) => Ok(Put::Created),
                Err(error) if status(&error) == Some(412) => Ok(Put::AlreadyThere),
                Err(error) => Err(call.failed(&error)),
            }
        })
        .await
    }

    /// At most this many first bytes of the object.
    async fn first(&self, key: &str, bytes: usize) -> Result<Vec<u8>, StoreError> {
        self.read(key, Some(0..bytes as u64), bytes).await
    }

    /// The object, or a part of it.
    async fn read(
        &self,
        key: &str,
        part: Option<Range<u64>>,
        bytes_max: usize,
    ) -> Result<Vec<u8>, StoreError> {
        let call = self.call("get", key);
        let mut request = self.client.get_object().bucket(&self.bucket).key(key);
        if let Some(Range { start, end }) = part {
            request = request.range(format!("bytes={start}-{}", end.saturating_sub(1)));
        }
        call.within(async {
            match request.send().await {
                Ok(answer) => call.body(answer.content_length, answer.body, bytes_max).await,
                // An object that ends before the part: it is what nobody sealed.
                Err(error) if status(&error) == Some(416) => Ok(Vec::new()),
                Err(error) => Err(call.failed(&error)),
            }
        })
        .await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        let call = self.call("list", prefix);
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix);
        let request = request.set_start_after(after.map(str::to_owned));
        let keys_max = i32::try_from(PAGE_KEYS_MAX).unwrap_or(i32::MAX);
        call.within(async {
            let answer = request.max_keys(keys_max).send().await;
            let answer = answer.map_err(|error| call.failed(&error))?;
            let more = answer.is_truncated.unwrap_or(false);
            let objects = answer.contents.unwrap_or_default();
            Ok(Page { keys: objects.into_iter().filter_map(|object| object.key).collect(), more })
        })
        .await
    }
}

fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// One call: what an error says of it.
#[derive(Clone, Copy)]
struct Call<'a> {
    action: &'static str,
    key: &'a str,
    bucket: &'a str,
    patience: Duration,
}

impl Call<'_> {
    /// The SDK's time-out ends with the answer's head; this one counts the body too.
    async fn within<T>(
        self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let in_time = tokio::time::timeout(self.patience, work).await;
        in_time.unwrap_or_else(|_| Err(self.unavailable("no answer in time")))
    }

    async fn body(
        self,
        length: Option<i64>,
        mut body: ByteStream,
        bytes_max: usize,
    ) -> Result<Vec<u8>, StoreError> {
        let too_large = || StoreError::TooLarge { key: self.key.to_owned(), bytes_max };
        let told = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        if told > bytes_max {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(told);
        let cut_off = |error| self.unavailable(&with_sources(&error));
        while let Some(part) = body.try_next().await.map_err(cut_off)? {
            // What was told need not be what comes.
            if bytes.len() + part.len() > bytes_max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }

    /// The one place where S3's answers become our kinds of fault.
    fn failed<E>(self, error: &SdkError<E>) -> StoreError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let (action, key, why) = (self.action, self.key.to_owned(), why(error));
        let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
        let may_pass = match (status(error), code) {
            (Some(404), Some("NoSuchBucket")) => {
                return StoreError::NoBucket { action, key, bucket: self.bucket.to_owned() };
            }
            (Some(404), _) => return StoreError::Missing { key },
            // Another writer of the same key is under way; a slow upload; too many requests.
            (Some(409), Some("ConditionalRequestConflict"))
            | (Some(400), Some("RequestTimeout"))
            | (Some(408 | 429 | 500..), _) => true,
            // An answer that is no S3 answer: cut off, or from something between us.
            (Some(_), _) => !matches!(error, SdkError::ServiceError(_)),
            (None, _) => match error {
                SdkError::TimeoutError(_) => true,
                SdkError::DispatchFailure(lost) => {
                    lost.is_io() || lost.is_timeout() || lost.as_other().is_some()
                }
                // No credentials, or a request that cannot be made.
                _ => false,
            },
        };
        if may_pass {
            StoreError::Unavailable { action, key, why }
        } else {
            StoreError::Refused { action, key, why }
        }
    }

    fn unavailable(self, why: &str) -> StoreError {
        let key = self.key.to_owned();
        StoreError::Unavailable { action: self.action, key, why: why.to_owned() }
    }
}

/// What the server says, or else the error with its sources, which alone say what happened; cut, since a whole answer
/// does not belong into a log line.
fn why<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let line = match (status(error), error.as_service_error()) {
        (Some(status), Some(answer)) => {
            let (code, message) = (answer.code(), answer.message());
            format!("{status} {} {}", code.unwrap_or_default(), message.unwrap_or_default())
        }
        _ => with_sources(error),
    };
    line.trim_end().chars().take(WHY_CHARS_MAX).collect()
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line.push_str(": ");
        line.push_str(&error.to_string());
        source = error.source();
    }
    line
}
