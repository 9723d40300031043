//! Tests of decoding, on clips that GStreamer makes here.

use super::*;

/// A clip of x264 from GStreamer's test source: `seconds` at 10 pictures a second.
fn clip(width: u32, height: u32, seconds: u32) -> Vec<u8> {
    encoded(width, height, seconds, "x264enc ! h264parse ! matroskamux")
}

fn encoded(width: u32, height: u32, seconds: u32, encoder: &str) -> Vec<u8> {
    filtered(width, height, seconds, encoder, |_| true)
}

/// The same, muxed without the encoded pictures that are not wanted. The element before the muxer is called `last`.
fn filtered(
    width: u32,
    height: u32,
    seconds: u32,
    encoder: &str,
    wanted: fn(&gst::BufferRef) -> bool,
) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip");
    let source = format!("videotestsrc num-buffers={} pattern=ball", seconds * 10);
    let caps = format!("video/x-raw,width={width},height={height},framerate=10/1");
    let location = format!("filesink location={}", path.display());
    let line = format!("{source} ! {caps} ! {encoder} ! {location}");
    gst::init().unwrap();
    let pipeline = gst::parse::launch(&line).unwrap();
    let last = pipeline.downcast_ref::<gst::Bin>().and_then(|bin| bin.by_name("last"));
    if let Some(pad) = last.and_then(|last| last.static_pad("src")) {
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| match info.buffer() {
            Some(buffer) if !wanted(buffer) => gst::PadProbeReturn::Drop,
            _ => gst::PadProbeReturn::Ok,
        });
    }
    pipeline.set_state(gst::State::Playing).unwrap();
    let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(60), &wanted);
    let end = end.unwrap();
    assert!(matches!(end.view(), gst::MessageView::Eos(_)), "{encoder}: {end:?}");
    pipeline.set_state(gst::State::Null).unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn frames_of_different_times_differ_and_one_time_gives_one_frame() {
    let bytes = clip(320, 240, 3);
    let clip = Clip::open(&bytes).unwrap();
    let all = |p: &Picture| (0..240).flat_map(|y| p.row(y, 0, 320).to_vec()).collect::<Vec<u8>>();
    let early = all(&clip.frame_at(0).unwrap());
    let late = all(&clip.frame_at(2_000_000_000).unwrap());
    assert_ne!(early, late);
    assert_eq!(early, all(&clip.frame_at(0).unwrap()));
}

/// What is shown must not depend on what was skipped on the way: every picture of a stream with pictures that none
/// refers to, sought one by one, is the picture that decoding all of them in order gives.
#[test]
fn skipping_unneeded_pictures_changes_none_that_is_shown() {
    let x264 = "x264enc bframes=3 b-pyramid=true key-int-max=40 speed-preset=veryfast";
    for muxer in ["matroskamux", "mp4mux"] {
        let bytes = encoded(320, 240, 6, &format!("{x264} ! h264parse ! {muxer}"));
        let clip = Clip::open(&bytes).unwrap();
        let whole = Clip::open(&bytes).unwrap();
        whole.pipeline.set_state(gst::State::Playing).unwrap();
        for number in 0..50u64 {
            let sample = whole.sink.try_pull_sample(WAIT).unwrap();
            let sought = clip.frame_at(number as i64 * 100_000_000).unwrap();
            let map = sample.buffer().unwrap().map_readable().unwrap();
            for y in 0..240 {
                let row = &map.as_slice()[y * 960..(y + 1) * 960];
                assert_eq!(sought.row(y as u32, 0, 320), row, "{muxer}: picture {number}");
            }
        }
    }
}

/// Key frames each 2 s at 10 pictures a second.
#[test]
fn a_near_picture_is_a_key_frame_or_the_earliest_in_reach_and_says_its_own_time() {
    let x264 = "x264enc bframes=3 key-int-max=20 option-string=scenecut=0 speed-preset=veryfast";
    for muxer in ["matroskamux", "mp4mux"] {
        let bytes = encoded(320, 240, 6, &format!("{x264} ! h264parse ! {muxer}"));
        let clip = Clip::open(&bytes).unwrap();
        let ms = |at: i64| at * 1_000_000;
        for (at, tolerance, expected) in [
            (0, 500, 0),
            (2_000, 500, 2_000),
            (2_400, 500, 2_000),
            (3_600, 500, 4_000),
            (3_000, 500, 2_500),
            (3_000, 0, 3_000),
            (3_050, 10, 3_040),
        ] {
            let (near, shown) = clip.frame_near(ms(at), ms(tolerance)).unwrap();
            // Matroska keeps milliseconds, and a snap may be backwards only.
            let back = (at, expected) == (3_600, 4_000) && shown < ms(at);
            let expected = if back { 3_100 } else { expected };
            assert!((shown - ms(expected)).abs() <= ms(1), "{muxer}: {at} gave {shown}");
            let exact = clip.frame_at(shown + ms(20)).unwrap();
            for y in 0..240 {
                assert_eq!(near.row(y, 0, 320), exact.row(y, 0, 320), "{muxer}: {at}");
            }
        }
        assert!(clip.frame_near(ms(60_000), ms(500)).is_err(), "{muxer}: after its end");
    }
}

/// Whatever the codec, what is shown at a key frame is what decoding everything up to it shows.
#[test]
fn a_key_frame_of_any_codec_is_the_picture_of_its_time() {
    let x264 = "x264enc bframes=2 key-int-max=20 speed-preset=veryfast";
    let x265 = "x265enc key-int-max=20 speed-preset=ultrafast log-level=none";
    for encoder in [
        format!("{x264} option-string=open-gop=1 ! h264parse ! matroskamux"),
        format!("{x264} interlaced=true ! h264parse ! mpegtsmux"),
        format!("{x264} ! h264parse ! mpegtsmux"),
        format!("{x265} ! h265parse ! mp4mux"),
        "vp8enc keyframe-max-dist=20 deadline=1 ! webmmux".to_owned(),
        "vp9enc keyframe-max-dist=20 deadline=1 ! webmmux".to_owned(),
        "jpegenc ! matroskamux".to_owned(),
    ] {
        let bytes = encoded(320, 240, 6, &encoder);
        let (clip, other) = (Clip::open(&bytes).unwrap(), Clip::open(&bytes).unwrap());
        for second in [0, 2] {
            let at = second * 1_000_000_000;
            let near = clip.frame_near(at, 500_000_000);
            let (near, shown) = near.unwrap_or_else(|e| panic!("{encoder}: {second}: {e}"));
            let exact = other.frame_at(shown + 20_000_000);
            let exact = exact.unwrap_or_else(|e| panic!("{encoder}: {second}, {shown}: {e}"));
            let off = (0..240).flat_map(|y| {
                let pair = near.row(y, 0, 320).iter().zip(exact.row(y, 0, 320));
                pair.map(|(a, b)| a.abs_diff(*b)).collect::<Vec<_>>()
            });
            assert_eq!(off.max(), Some(0), "{encoder}: {second} s, shown at {shown} ns");
        }
    }
}

#[test]
fn a_clip_without_a_key_frame_shows_nothing() {
    let x264 = "x264enc key-int-max=1000 ! h264parse name=last ! matroskamux";
    let delta = |buffer: &gst::BufferRef| buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
    let bytes = filtered(320, 240, 2, x264, delta);
    let second = 1_000_000_000;
    let exact = Clip::open(&bytes).and_then(|clip| clip.frame_at(second));
    let near = Clip::open(&bytes).and_then(|clip| clip.frame_near(second, second / 2));
    assert!(exact.is_err() && near.is_err(), "a picture was made up");
    // The same with its key frame is shown.
    let bytes = filtered(320, 240, 2, x264, |_| true);
    Clip::open(&bytes).and_then(|clip| clip.frame_at(1_000_000_000)).unwrap();
}

#[test]
fn what_is_no_video_is_named_so() {
    assert!(matches!(Clip::open(b""), Err(ClipError::Empty)));
    assert!(matches!(Clip::open(b"not a video at all"), Err(ClipError::NotVideo(_))));
    let bytes = clip(320, 240, 1);
    assert!(Clip::open(&bytes[..200]).is_err());
    assert!(Clip::open(&[0; 4096]).is_err());
}

/// Often, since the error that says so is lost at times only; then it ends with another, after a wait.
#[test]
fn a_matroska_that_was_cut_off_before_its_stream_is_named_at_once() {
    let whole = clip(320, 240, 1);
    for _ in 0..60 {
        assert!(matches!(Clip::open(&whole[..200]), Err(ClipError::NotVideo(_))));
    }
}

#[test]
fn an_mp4_that_was_cut_off_before_its_index_is_named_at_once() {
    let whole = encoded(320, 240, 1, "x264enc ! h264parse ! mp4mux");
    assert!(!is_cut_mp4(&whole));
    for at in [8, 40, whole.len() / 2] {
        let error = Clip::open(&whole[..at]).err().unwrap().to_string();
        assert!(error.contains("cut off"), "{at}: {error}");
    }
    let fragments = encoded(320, 240, 1, "x264enc ! h264parse ! mp4mux fragment-duration=500");
    assert!(!is_cut_mp4(&fragments) && !is_cut_mp4(&clip(320, 240, 1)) && !is_cut_mp4(b"ftyp"));
    // A box without a length, one that is shorter than its head, a long one.
    for tail in [&[0, 0, 0, 0][..], &[0, 0, 0, 7], &[0, 0, 0, 1]] {
        assert!(is_cut_mp4(&[&[0, 0, 0, 8], b"ftyp", tail, &b"mdat\xff\xff\xff\xff"[..]].concat()));
    }
}

#[test]
fn pictures_over_the_limit_are_refused_before_decoding() {
    let bytes = clip(3856, 240, 1);
    let error = Clip::open(&bytes).err().unwrap();
    assert!(matches!(error, ClipError::PictureTooLarge { width: 3856, height: 240 }), "{error}");
}
