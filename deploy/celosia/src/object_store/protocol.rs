//! Owns the S3 operations that this system uses, over the folder of objects: put, get (whole or a range), head, list.
//! Every other operation is refused by the access check already.

use std::sync::Arc;

use base::counters::Counters;
use http_body_util::{BodyExt, Limited};
use s3s::{
    Body, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, TrailingHeaders,
    checksum::ChecksumHasher,
    crypto::{Checksum as _, Md5},
    dto::{
        Checksum, ETag, ETagCondition, GetObjectInput, GetObjectOutput, HeadBucketInput,
        HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input,
        ListObjectsV2Output, Object as ListedObject, PutObjectInput, PutObjectOutput, Range,
        StreamingBlob, Timestamp,
    },
    s3_error,
};
use tokio::sync::Semaphore;

use super::{
    count,
    folder::{Folder, FolderError, Listing, OBJECT_BYTES_MAX, Object, Placed},
    notice::{Created, Notices},
};

/// Most objects in memory at once, each of at most [`OBJECT_BYTES_MAX`]; further requests wait.
const AT_ONCE_MAX: usize = 16;
/// Most bytes by which the chunks of a body make it longer: a line of some 100 for each 64 KiB.
const CHUNKS_BYTES_MAX: usize = 64 * 1024;
/// Most keys of one page, as on S3.
const PAGE_KEYS_MAX: usize = 1000;

/// The object store behind the protocol.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    folder: Arc<Folder>,
    notices: Option<Notices>,
    counters: Arc<Counters>,
    room: Arc<Semaphore>,
}

impl Objects {
    pub(super) fn new(folder: Folder, notices: Option<Notices>, counters: Arc<Counters>) -> Self {
        let room = Arc::new(Semaphore::new(AT_ONCE_MAX));
        Self { folder: Arc::new(folder), notices, counters, room }
    }

    /// Runs what blocks on a thread of its own, and says its errors in the words of S3.
    async fn blocking<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Folder) -> Result<T, FolderError> + Send + 'static,
    ) -> S3Result<T> {
        let folder = Arc::clone(&self.folder);
        let done = tokio::task::spawn_blocking(move || act(&folder)).await;
        match done.map_err(S3Error::internal_error)? {
            Ok(value) => Ok(value),
            Err(error) => Err(self.told(&error)),
        }
    }

    fn told(&self, error: &FolderError) -> S3Error {
        let code = match error {
            FolderError::NoBucket(_) => S3ErrorCode::NoSuchBucket,
            FolderError::NoKey(_) => S3ErrorCode::NoSuchKey,
            FolderError::Key(..) => S3ErrorCode::InvalidArgument,
            FolderError::Disk { .. } => {
                self.counters.add(count::DISK_ERRORS, 1);
                tracing::error!(%error, "an object was not written or read");
                S3ErrorCode::InternalError
            }
        };
        S3Error::with_message(code, error.to_string())
    }

    async fn read(&self, bucket: String, key: String) -> S3Result<Object> {
        let _room = self.room.acquire().await.map_err(S3Error::internal_error)?;
        self.blocking(move |folder| folder.read(&bucket, &key)).await
    }
}

#[async_trait::async_trait]
impl S3 for Objects {
    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let (mut input, trailers) = (request.input, request.trailing_headers);
        let once = match (&input.if_none_match, &input.if_match) {
            (None, None) => false,
            (Some(ETagCondition::Any), None) => true,
            _ => return Err(s3_error!(NotImplemented, "Only If-None-Match: * is supported")),
        };
        let _room = self.room.acquire().await.map_err(S3Error::internal_error)?;
        let body = input.body.take().ok_or_else(|| s3_error!(IncompleteBody))?;
        let bytes = whole(body, input.content_length).await?;
        let checksum = check(&input, trailers.as_ref(), &bytes)?;
        let e_tag = md5(&bytes);

        let (bucket, key, length) = (input.bucket, input.key, bytes.len());
        let place = (bucket.clone(), key.clone());
        let placed =
            self.blocking(move |folder| folder.put(&place.0, &place.1, &bytes, once)).await?;
        if placed == Placed::WasThere {
            self.counters.add(count::WERE_THERE, 1);
            return Err(s3_error!(PreconditionFailed, "There is an object of this key"));
        }
        self.counters.add(count::WRITTEN, 1);
        if let Some(notices) = &self.notices {
            let principal = request.credentials.map(|who| who.access_key).unwrap_or_default();
            let region = request.region.map(|region| region.to_string()).unwrap_or_default();
            let (principal, region) = (principal.as_str(), region.as_str());
            let (bucket, key, e_tag) = (bucket.as_str(), key.as_str(), e_tag.as_str());
            notices.tell(&Created { bucket, key, bytes: length, e_tag, principal, region });
        }
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(ETag::Strong(e_tag)),
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            ..Default::default()
        }))
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let GetObjectInput { bucket, key, range, .. } = request.input;
        let content_type = content_type(&key);
        let Object { bytes, modified } = self.read(bucket, key).await?;
        let e_tag = md5(&bytes);
        let (part, content_range) = cut(bytes, range)?;
        Ok(S3Response::new(GetObjectOutput {
            content_length: i64::try_from(part.len()).ok(),
            body: Some(StreamingBlob::from(Body::from(part))),
            content_range,
            content_type,
            e_tag: Some(ETag::Strong(e_tag)),
            last_modified: Some(Timestamp::from(modified)),
            accept_ranges: Some("bytes".to_owned()),
            ..Default::default()
        }))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let HeadObjectInput { bucket, key, .. } = request.input;
        let content_type = content_type(&key);
        let Object { bytes, modified } = self.read(bucket, key).await?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: i64::try_from(bytes.len()).ok(),
            content_type,
            e_tag: Some(ETag::Strong(md5(&bytes))),
            last_modified: Some(Timestamp::from(modified)),
            accept_ranges: Some("bytes".to_owned()),
            ..Default::default()
        }))
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        let there = self.folder.has_bucket(&request.input.bucket);
        let output = || S3Response::new(HeadBucketOutput::default());
        there.then(output).ok_or_else(|| s3_error!(NoSuchBucket))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        if input.delimiter.is_some() {
            return Err(s3_error!(NotImplemented, "Listing by a delimiter is not supported"));
        }
        let max = input.max_keys.unwrap_or(i32::MAX);
        let max = usize::try_from(max).map_err(|_| s3_error!(InvalidArgument))?.min(PAGE_KEYS_MAX);
        // A token is the last key of the page before.
        let after = input.continuation_token.clone().or_else(|| input.start_after.clone());
        let (bucket, prefix) = (input.bucket.clone(), input.prefix.clone().unwrap_or_default());
        let list = move |folder: &Folder| {
            folder.list(&bucket, Listing { prefix: &prefix, after: after.as_deref(), max })
        };
        let (found, more) = self.blocking(list).await?;
        let last = found.last().map(|entry| entry.key.clone());
        let contents: Vec<ListedObject> = found.into_iter().map(listed).collect();
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: i32::try_from(contents.len()).ok(),
            max_keys: i32::try_from(max).ok(),
            is_truncated: Some(more && max > 0),
            next_continuation_token: if more { last } else { None },
            contents: Some(contents),
            continuation_token: input.continuation_token,
            name: Some(input.bucket),
            prefix: input.prefix,
            start_after: input.start_after,
            ..Default::default()
        }))
    }
}

fn listed(entry: super::folder::Entry) -> ListedObject {
    ListedObject {
        key: Some(entry.key),
        size: i64::try_from(entry.bytes).ok(),
        last_modified: Some(Timestamp::from(entry.modified)),
        ..Default::default()
    }
}

/// The body in memory. What was announced is only a first look: with signed chunks it is longer than the bytes. That
/// no byte is missing is seen by HTTP, by the signature and by the checksums.
async fn whole(body: StreamingBlob, announced: Option<i64>) -> S3Result<Vec<u8>> {
    let too_large = || s3_error!(EntityTooLarge, "Objects are of at most {OBJECT_BYTES_MAX} bytes");
    let announced = announced.map_or(Ok(0), usize::try_from);
    if announced.map_err(|_| s3_error!(InvalidArgument))? > OBJECT_BYTES_MAX + CHUNKS_BYTES_MAX {
        return Err(too_large());
    }
    let limited = Limited::new(Body::from(body), OBJECT_BYTES_MAX);
    let bytes = limited.collect().await.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            return too_large();
        }
        S3Error::with_source(S3ErrorCode::IncompleteBody, error)
    })?;
    Ok(bytes.to_bytes().to_vec())
}

/// Checks the bytes against every checksum that came with them, before any of them is kept.
fn check(
    input: &PutObjectInput,
    trailers: Option<&TrailingHeaders>,
    bytes: &[u8],
) -> S3Result<Checksum> {
    let trailer = |name: &str| -> Option<String> {
        let value = trailers?.read(|headers| headers.get(name).cloned())??;
        value.to_str().ok().map(str::to_owned)
    };
    let stated = |header: &Option<String>, name| header.clone().or_else(|| trailer(name));
    let stated = Checksum {
        checksum_crc32: stated(&input.checksum_crc32, "x-amz-checksum-crc32"),
        checksum_crc32c: stated(&input.checksum_crc32c, "x-amz-checksum-crc32c"),
        checksum_crc64nvme: stated(&input.checksum_crc64nvme, "x-amz-checksum-crc64nvme"),
        checksum_sha1: stated(&input.checksum_sha1, "x-amz-checksum-sha1"),
        checksum_sha256: stated(&input.checksum_sha256, "x-amz-checksum-sha256"),
        ..Default::default()
    };
    let mut hasher = ChecksumHasher {
        crc32: stated.checksum_crc32.is_some().then(Default::default),
        crc32c: stated.checksum_crc32c.is_some().then(Default::default),
        crc64nvme: stated.checksum_crc64nvme.is_some().then(Default::default),
        sha1: stated.checksum_sha1.is_some().then(Default::default),
        sha256: stated.checksum_sha256.is_some().then(Default::default),
    };
    hasher.update(bytes);
    let md5_fits = match &input.content_md5 {
        None => true,
        Some(stated) => *stated == base64(&Md5::checksum(bytes)),
    };
    if hasher.finalize() == stated && md5_fits {
        return Ok(stated);
    }
    Err(s3_error!(BadDigest, "The bytes are not those of their checksum; nothing was kept"))
}

fn md5(bytes: &[u8]) -> String {
    Md5::checksum(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn base64(bytes: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}

/// The part of an object that a range names, and how the answer says so.
fn cut(bytes: Vec<u8>, range: Option<Range>) -> S3Result<(Vec<u8>, Option<String>)> {
    let Some(range) = range else { return Ok((bytes, None)) };
    let length = bytes.len();
    let part = range.check(length as u64)?;
    let indices = usize::try_from(part.start).ok().zip(usize::try_from(part.end).ok());
    let found = indices.and_then(|(start, end)| bytes.get(start..end));
    let found = found.ok_or_else(|| s3_error!(InvalidRange))?.to_vec();
    let last = part.end.saturating_sub(1);
    Ok((found, Some(format!("bytes {}-{last}/{length}", part.start))))
}

/// By the key's ending: the store keeps bytes and nothing else about them.
fn content_type(key: &str) -> Option<String> {
    let (_, ending) = key.rsplit_once('.')?;
    let known = match ending {
        "jpg" => "image/jpeg",
        "json" => "application/json",
        "tar" => "application/x-tar",
        _ => "application/octet-stream",
    };
    Some(known.to_owned())
}
