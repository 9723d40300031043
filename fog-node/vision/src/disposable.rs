//! Owns one question about compressed H.264 pictures: is this one needed to decode any other? Pictures that are not, and
//! that are not shown, need no decoding on the way from a key frame to a slot: two of three in many encoders' streams.

use gstreamer as gst;
use gstreamer::prelude::*;

/// Pictures that end nearer to the slot than this are always decoded: one of them is shown, and times are rounded.
const NEAR: gst::ClockTime = gst::ClockTime::from_mseconds(20);

/// Drops the pictures that nobody needs on their way through `pad`.
pub(crate) fn drop_unneeded(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::BUFFER, |pad, info| {
        let unneeded = info.buffer().is_some_and(|buffer| is_unneeded(pad, buffer));
        if unneeded { gst::PadProbeReturn::Handled } else { gst::PadProbeReturn::Ok }
    });
}

/// Whether a picture lies well before the segment that a seek asked for and no other picture refers to it. Anything
/// that is not certain is needed.
fn is_unneeded(pad: &gst::Pad, buffer: &gst::BufferRef) -> bool {
    let segment = pad.sticky_event::<gst::event::Segment>(0);
    let start = segment.as_ref().and_then(|event| {
        event.segment().downcast_ref::<gst::ClockTime>().and_then(gst::FormattedSegment::start)
    });
    let end = buffer.pts().zip(buffer.duration()).map(|(pts, duration)| pts + duration);
    let early = start.zip(end).is_some_and(|(start, end)| end + NEAR < start);
    early
        && framing_of(pad).zip(buffer.map_readable().ok()).is_some_and(|(framing, map)| {
            first_picture_header(map.as_slice(), framing).is_some_and(|header| header & 0x60 == 0)
        })
}

/// How the units of a picture are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// Each after its length in four bytes, as MP4 and Matroska have it.
    Lengths,
    /// Each after 00 00 01.
    StartCodes,
}

fn framing_of(pad: &gst::Pad) -> Option<Framing> {
    let caps = pad.current_caps()?;
    let stream = caps.structure(0).filter(|stream| stream.name() == "video/x-h264")?;
    match stream.get::<&str>("stream-format").ok()? {
        "byte-stream" => Some(Framing::StartCodes),
        "avc" => {
            let data = stream.get::<gst::Buffer>("codec_data").ok()?;
            // The low two bits of the fifth byte are the size of lengths less one.
            let four = data.map_readable().ok()?.get(4).is_some_and(|byte| byte & 3 == 3);
            four.then_some(Framing::Lengths)
        }
        _ => None,
    }
}

/// The first byte of the first unit that carries a slice of a picture: type in its low five bits, importance above.
fn first_picture_header(data: &[u8], framing: Framing) -> Option<u8> {
    let mut units = Units { data, framing };
    units.find_map(|unit| unit.first().copied().filter(|header| (1..=5).contains(&(header & 0x1F))))
}

struct Units<'a> {
    data: &'a [u8],
    framing: Framing,
}

impl<'a> Iterator for Units<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match self.framing {
            Framing::Lengths => {
                let (length, rest) = self.data.split_first_chunk::<4>()?;
                let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
                let (unit, rest) = rest.split_at_checked(length)?;
                self.data = rest;
                Some(unit)
            }
            Framing::StartCodes => {
                let at = self.data.windows(3).position(|code| code == [0, 0, 1])?;
                // The rest may hold further units: only the first byte of each is read.
                self.data = self.data.get(at + 3..)?;
                Some(self.data)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An access unit delimiter, then a slice with this header.
    fn picture(header: u8, framing: Framing) -> Vec<u8> {
        let units = [vec![0x09, 0xF0], vec![header, 0x9A, 0x00, 0x17]];
        let with_mark = units.into_iter().map(|unit| match framing {
            Framing::Lengths => [vec![0, 0, 0, unit.len() as u8], unit].concat(),
            Framing::StartCodes => [vec![0, 0, 0, 1], unit].concat(),
        });
        with_mark.flatten().collect()
    }

    #[test]
    fn the_slice_is_found_behind_other_units_in_both_framings() {
        for framing in [Framing::Lengths, Framing::StartCodes] {
            // A key frame, a picture that others refer to, one that none does.
            for header in [0x65, 0x41, 0x01] {
                let found = first_picture_header(&picture(header, framing), framing);
                assert_eq!(found, Some(header), "{framing:?}");
            }
        }
    }

    #[test]
    fn bytes_that_are_no_units_say_nothing() {
        for framing in [Framing::Lengths, Framing::StartCodes] {
            let whole = picture(0x41, framing);
            for length in 0..whole.len() {
                first_picture_header(&whole[..length], framing);
            }
            assert_eq!(first_picture_header(&[0xFF; 64], framing), None);
            assert_eq!(first_picture_header(&[], framing), None);
        }
    }
}
