//! A camera of V4L2 where there is none: an element of the same name stands in for GStreamer's `v4l2src`, so that
//! everything behind it runs for real: conversion, x264, cutting, muxing. What the kernel and the element itself do is
//! not tried here; `sources` does where there is a device.
//!
//! A test binary of its own: the name belongs to the stand-in in the whole process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{path::PathBuf, sync::Arc, time::Duration};

use base::{Clock, Fault, Faulty, SystemClock};
use capture::{Capture, CaptureError, CaptureSettings, CaptureSource, Pace};
use gst::{glib, prelude::*};
use gstreamer as gst;

/// A camera that is unplugged after two seconds.
const UNPLUGGED: &str = "/dev/video8";
/// Pictures a second, of the format that most cameras have: packed 4:2:2.
const RATE: u32 = 25;

mod stand_in {
    use std::sync::{
        LazyLock, Mutex,
        atomic::{AtomicU32, Ordering},
    };

    use gst::{glib, prelude::*, subclass::prelude::*};
    use gstreamer as gst;

    #[derive(Default)]
    pub struct Device {
        path: Mutex<String>,
        pictures: AtomicU32,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Device {
        const NAME: &'static str = "CelosiaTestDevice";
        type Type = super::Device;
        type ParentType = gst::Bin;
    }

    impl Device {
        fn count(&self) {
            let pictures = self.pictures.fetch_add(1, Ordering::SeqCst);
            let gone =
                *self.path.lock().unwrap() == super::UNPLUGGED && pictures == 2 * super::RATE;
            if gone {
                // The words of `v4l2src` when its device goes away.
                gst::element_imp_error!(self, gst::ResourceError::Read, ["No such device"]);
            }
        }
    }

    impl ObjectImpl for Device {
        fn properties() -> &'static [glib::ParamSpec] {
            static ALL: LazyLock<Vec<glib::ParamSpec>> =
                LazyLock::new(|| vec![glib::ParamSpecString::builder("device").build()]);
            &ALL
        }

        fn set_property(&self, _: usize, value: &glib::Value, _: &glib::ParamSpec) {
            *self.path.lock().unwrap() = value.get().unwrap();
        }

        fn property(&self, _: usize, _: &glib::ParamSpec) -> glib::Value {
            self.path.lock().unwrap().to_value()
        }

        fn constructed(&self) {
            self.parent_constructed();
            let camera = gst::ElementFactory::make("videotestsrc")
                .property("is-live", true)
                .property_from_str("pattern", "ball");
            let caps = gst::Caps::builder("video/x-raw")
                .field("format", "YUY2")
                .field("width", 640)
                .field("height", 480)
                .field("framerate", gst::Fraction::new(super::RATE.cast_signed(), 1))
                .build();
            let filter = gst::ElementFactory::make("capsfilter").property("caps", caps);
            let (camera, filter) = (camera.build().unwrap(), filter.build().unwrap());
            let bin = self.obj();
            bin.add_many([&camera, &filter]).unwrap();
            camera.link(&filter).unwrap();
            let inner = filter.static_pad("src").unwrap();
            let (weak, kind) = (bin.downgrade(), gst::PadProbeType::BUFFER);
            inner.add_probe(kind, move |_, _| {
                if let Some(bin) = weak.upgrade() {
                    bin.imp().count();
                }
                gst::PadProbeReturn::Ok
            });
            let outer = gst::GhostPad::with_target(&inner).unwrap();
            outer.set_property("name", "src");
            bin.add_pad(&outer).unwrap();
        }
    }

    impl GstObjectImpl for Device {}
    impl ElementImpl for Device {}
    impl BinImpl for Device {}
}

glib::wrapper! {
    /// What stands in.
    pub struct Device(ObjectSubclass<stand_in::Device>)
        @extends gst::Bin, gst::Element, gst::Object,
        @implements gst::ChildProxy;
}

fn start(device: &str) -> Result<Capture, CaptureError> {
    gst::init().unwrap();
    gst::Element::register(None, "v4l2src", gst::Rank::NONE, Device::static_type()).unwrap();
    let clip_length = Duration::from_secs(1);
    let settings = CaptureSettings { clip_length, pace: Pace::Realtime, repeat: false };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let source = CaptureSource::V4l2 { device: PathBuf::from(device) };
    Capture::start(source, settings, clock)
}

#[test]
fn what_a_device_shows_is_encoded_and_becomes_clips_that_are_whole_videos() {
    let mut capture = start("/dev/video7").unwrap();
    let clips: Vec<_> = (0..3).map(|_| capture.next_clip().unwrap().unwrap()).collect();
    capture.stopper().stop();
    for pair in clips.windows(2) {
        assert_eq!(pair[0].interval.end_ns, pair[1].interval.start_ns, "they touch");
    }
    for clip in &clips {
        // A key frame each second, so that clips are cut at their length.
        let off = clip.interval.length_ns() - 1_000_000_000;
        assert!(off.abs() <= 80_000_000, "{clip:?}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.mkv");
        std::fs::write(&path, &clip.bytes).unwrap();
        let clip_length = Duration::from_secs(60);
        let settings = CaptureSettings { clip_length, pace: Pace::Fast, repeat: false };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let mut again = Capture::start(CaptureSource::File { path }, settings, clock).unwrap();
        assert_eq!(again.next_clip().unwrap().unwrap().pictures, clip.pictures);
        assert!(again.next_clip().unwrap().is_none(), "one clip is one video");
    }
}

#[test]
fn a_device_that_is_unplugged_gives_what_it_gave_and_an_error_and_can_be_taken_again() {
    let mut capture = start(UNPLUGGED).unwrap();
    let mut pictures = 0;
    let error = loop {
        match capture.next_clip() {
            Ok(Some(clip)) => pictures += clip.pictures,
            Ok(None) => panic!("the end of a live camera is no end"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.fault(), Fault::Transient, "{error}");
    assert!(error.to_string().contains(UNPLUGGED), "{error}");
    // Two seconds, but for what was still on its way behind the camera.
    assert!((RATE as usize..=2 * RATE as usize + 1).contains(&pictures), "{pictures}");
    assert!(start(UNPLUGGED).unwrap().next_clip().unwrap().is_some());
}
