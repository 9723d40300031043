//! Packs: all frames of a clip as one object, on each version of the store; and how little of an object is read.

use base::{Fault, Faulty as _, Shutdown};
use proto::{
    Digest,
    envelope::{HEAD_BYTES, SealedFrame},
    key,
    limits::{ENVELOPE_BYTES_MAX, FACES_MAX},
    pack::Within,
    result::{ClipResult, RESULT_SCHEMA},
};

use super::{check, site::Site};
use crate::{
    Pack, Put, StoreError,
    testing::{FRAMES_BUCKET, ObjectServer, RESULTS_BUCKET},
};

fn packed(site: &Site, slots: std::ops::Range<u64>, faces: usize) -> (Vec<SealedFrame>, Pack) {
    let frames: Vec<_> = slots.map(|slot| site.frame(slot, faces)).collect();
    let pack = Pack::of(&frames).unwrap();
    (frames, pack)
}

fn result_of(site: &Site, frames: &[SealedFrame]) -> ClipResult {
    let results: Vec<_> = frames.iter().map(|frame| site.result(frame.manifest())).collect();
    let model = results[0].model.clone();
    let pack = key::pack_key(frames[0].manifest());
    ClipResult { schema: RESULT_SCHEMA, pack, model, frames: results }
}

#[tokio::test]
async fn a_pack_is_created_once_and_gives_back_each_frame_and_all_heads() {
    check(|site, stores| {
        Box::pin(async move {
            let (frames, pack) = packed(site, 10..13, 2);
            assert_eq!(stores.frame_writer.put_pack(&pack).await.unwrap(), Put::Created);
            assert_eq!(stores.frame_writer.put_pack(&pack).await.unwrap(), Put::AlreadyThere);
            let heads = stores.frame_reader.pack_heads(pack.key()).await.unwrap();
            assert_eq!(heads.len(), 3);
            for ((frame, head), within) in frames.iter().zip(&heads).zip(pack.places()) {
                let key = key::frame_key(frame.manifest());
                assert_eq!(head.manifest(), frame.manifest());
                let read = stores.frame_reader.frame_within(&key, *within).await.unwrap();
                assert_eq!(read.bytes(), frame.bytes());
                let head = stores.frame_reader.head_within(&key, *within).await.unwrap();
                assert_eq!(head.manifest(), frame.manifest());
            }
        })
    })
    .await;
}

#[tokio::test]
async fn a_pack_of_crowds_is_read_as_well() {
    check(|site, stores| {
        Box::pin(async move {
            let (frames, pack) = packed(site, 0..3, FACES_MAX);
            assert_eq!(stores.frame_writer.put_pack(&pack).await.unwrap(), Put::Created);
            let heads = stores.frame_reader.pack_heads(pack.key()).await.unwrap();
            assert_eq!(heads.len(), 3);
            let key = key::frame_key(frames[2].manifest());
            let head = stores.frame_reader.head_within(&key, pack.places()[2]).await.unwrap();
            assert_eq!(head.manifest(), frames[2].manifest());
        })
    })
    .await;
}

#[test]
fn the_same_frames_give_the_same_pack_and_a_plain_tar() {
    let site = Site::new();
    let (frames, pack) = packed(&site, 0..2, 1);
    assert_eq!(Pack::of(&frames).unwrap().bytes(), pack.bytes());
    let mut archive = tar::Archive::new(pack.bytes());
    let mut names = Vec::new();
    for (entry, at) in archive.entries().unwrap().zip(0..) {
        let mut entry = entry.unwrap();
        let (path, offset) =
            (entry.path().unwrap().display().to_string(), entry.raw_file_position());
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        if let Some(at) = usize::checked_sub(at, 1) {
            assert_eq!(bytes, frames[at].bytes());
            let length = bytes.len() as u64;
            assert_eq!(pack.places()[at], Within { offset, length });
        }
        names.push(path);
    }
    let name = |slot| format!("000102030405060708090a0b0c0d0e0f-7-{slot}.jpg");
    assert_eq!(names, ["heads".to_owned(), name(0), name(1)]);
}

#[test]
fn a_pack_keeps_its_golden_bytes() {
    let (_, pack) = packed(&Site::new(), 0..2, 1);
    let digest = Digest::of(pack.bytes()).to_string();
    assert_eq!(digest, include_str!("../../tests/golden/pack-v1.blake3").trim());
}

#[test]
fn what_gains_nothing_or_does_not_fit_travels_frame_by_frame() {
    let site = Site::new();
    assert!(Pack::of(&[]).is_none());
    assert!(Pack::of(&[site.frame(1, 1)]).is_none(), "one frame");
    let mut two = vec![site.frame(1, 1), site.frame_of(8, 2, b"")];
    assert!(Pack::of(&two).is_none(), "two clips");
    let large = vec![7; ENVELOPE_BYTES_MAX - 64 * 1024];
    two = vec![site.frame_of(7, 1, &large), site.frame_of(7, 2, &large)];
    assert!(Pack::of(&two).is_none(), "over the limit");
    two.pop();
    two.push(site.frame(2, 1));
    assert!(Pack::of(&two).is_some());
}

#[tokio::test]
async fn what_is_no_pack_of_this_clip_is_refused_whole() {
    check(|site, stores| {
        Box::pin(async move {
            let (frames, pack) = packed(site, 0..2, 1);
            let key = pack.key().to_owned();
            let missing = stores.frame_reader.pack_heads(&key).await.unwrap_err();
            assert!(matches!(missing, StoreError::Missing { .. }), "{missing}");
            let mut altered = pack.bytes().to_vec();
            altered[900] ^= 1;
            let foreign = packed(&Site::with_seed(9), 0..2, 1).1.bytes().to_vec();
            let other = Pack::of(&[site.frame_of(8, 1, b""), site.frame_of(8, 2, b"")]).unwrap();
            let cut = pack.bytes()[..1000].to_vec();
            let twice = [frames[0].clone(), frames[0].clone()];
            let twice = Pack::of(&twice).unwrap().bytes().to_vec();
            let other = other.bytes().to_vec();
            let single = frames[0].bytes().to_vec();
            for (at, bytes) in
                [Vec::new(), altered, foreign, other, cut, twice, single].into_iter().enumerate()
            {
                (stores.plant_frame)(&key, bytes);
                let error = stores.frame_reader.pack_heads(&key).await.unwrap_err();
                assert_eq!(error.fault(), Fault::Corrupt, "{at}: {error}");
            }
            // A place that another frame has, and one behind the end.
            (stores.plant_frame)(&key, pack.bytes().to_vec());
            let frame_key = key::frame_key(frames[0].manifest());
            for within in [pack.places()[1], Within { offset: 1 << 40, length: 10 }] {
                let error = stores.frame_reader.frame_within(&frame_key, within).await.unwrap_err();
                assert_eq!(error.fault(), Fault::Corrupt, "{error}");
            }
            let error = stores.frame_reader.pack_heads(&frame_key).await.unwrap_err();
            assert!(matches!(error, StoreError::NoKey { .. }), "{error}");
        })
    })
    .await;
}

#[tokio::test]
async fn the_result_of_a_clip_is_created_once_and_reads_back() {
    check(|site, stores| {
        Box::pin(async move {
            let (frames, _) = packed(site, 0..2, 1);
            let result = result_of(site, &frames);
            let writer = &stores.result_writer;
            assert_eq!(writer.put_clip_result(&result).await.unwrap(), Put::Created);
            assert_eq!(writer.put_clip_result(&result).await.unwrap(), Put::AlreadyThere);
            let prefix = key::pack_results_prefix(&result.pack).unwrap();
            let page = stores.result_reader.results(&prefix, None).await.unwrap();
            let [key] = page.keys.as_slice() else { panic!("{page:?}") };
            assert_eq!(stores.result_reader.clip_result(key).await.unwrap(), result);
            // What does not hold together is neither written nor believed.
            let mut twice = result.clone();
            twice.frames.push(result.frames[0].clone());
            let mut of_other = result.clone();
            of_other.frames[1].model.digest = Digest::of(b"other");
            let mut none = result.clone();
            none.frames.clear();
            let mut counted = result.clone();
            counted.frames[0].mask += 1;
            for wrong in [twice, of_other, none, counted] {
                let error = writer.put_clip_result(&wrong).await.unwrap_err();
                assert_eq!(error.fault(), Fault::Corrupt, "{error}");
                (stores.plant_result)(key, serde_json::to_vec(&wrong).unwrap());
                let error = stores.result_reader.clip_result(key).await.unwrap_err();
                assert_eq!(error.fault(), Fault::Corrupt, "{error}");
            }
        })
    })
    .await;
}

/// What inference fetches of a frame and of a pack: one request for the first 64 KiB, whatever the pictures weigh.
#[tokio::test]
async fn a_head_costs_one_range_of_64_kib_and_no_picture() {
    let (site, shutdown) = (Site::new(), Shutdown::default());
    let server = ObjectServer::start(&shutdown).await.unwrap();
    let stores = site.s3(&server).await;
    let picture = vec![7; 1024 * 1024];
    let frames: Vec<_> = (1..4).map(|slot| site.frame_of(7, slot, &picture)).collect();
    let pack = Pack::of(&frames).unwrap();
    let key = key::frame_key(frames[0].manifest());
    assert_eq!(stores.frame_writer.put_frame(&frames[0]).await.unwrap(), Put::Created);
    assert_eq!(stores.frame_writer.put_pack(&pack).await.unwrap(), Put::Created);
    let before = server.seen().len();
    stores.frame_reader.head(&key).await.unwrap();
    stores.frame_reader.pack_heads(pack.key()).await.unwrap();
    stores.frame_reader.frame_within(&key, pack.places()[0]).await.unwrap();
    let seen = server.seen();
    let bytes: Vec<u64> = seen[before..].iter().map(|request| request.bytes).collect();
    assert_eq!(bytes, [HEAD_BYTES as u64, HEAD_BYTES as u64, pack.places()[0].length]);
    assert!(server.object(FRAMES_BUCKET, &key).unwrap().len() > 16 * HEAD_BYTES);
    assert!(server.keys(RESULTS_BUCKET).is_empty());
    shutdown.request();
}
