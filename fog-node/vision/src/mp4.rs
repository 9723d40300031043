//! Owns what an MP4's boxes say before anybody decodes it.

/// Whether it is an MP4 whose index is missing. GStreamer says so as well, but at times the error is lost between its bins,
/// and only the end of a long wait tells. Boxes: ISO/IEC 14496-12, 4.2.
pub(crate) fn is_cut_mp4(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let mut first = true;
    while let Some((head, body)) = rest.split_first_chunk::<8>() {
        let (size, kind) = head.split_at(4);
        match kind {
            b"ftyp" => {}
            _ if first => return false,
            b"moov" | b"moof" => return false,
            _ => {}
        }
        first = false;
        let size = size.try_into().map_or(0, u32::from_be_bytes);
        let size = match size {
            // The length follows in eight bytes.
            1 => body.first_chunk().map_or(u64::MAX, |long| u64::from_be_bytes(*long)),
            // It goes on to the end.
            0 => break,
            size => size.into(),
        };
        // A box is no shorter than its head; one that ends behind the file is the one that was cut.
        let next = usize::try_from(size).ok().filter(|size| *size >= head.len());
        let Some(next) = next.and_then(|next| rest.get(next..)) else { break };
        rest = next;
    }
    !first
}
