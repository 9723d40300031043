//! Owns made-up pictures for the tests of the measuring commands: faces of flat shapes, no photo of anybody.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// How a made-up face is drawn.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    /// Colour of the skin.
    pub(crate) skin: [u8; 3],
    /// Colour of the hair.
    pub(crate) hair: [u8; 3],
    /// Height of the eyes, in hundredths of the face.
    pub(crate) eyes: usize,
    /// Colour of a mask over the lower half, if any.
    pub(crate) mask: Option<[u8; 3]>,
}

/// A picture with one face in its middle, as a binary PPM; `grain` makes two pictures of one look differ.
pub(crate) fn picture(side: usize, look: Look, grain: usize) -> Vec<u8> {
    let mut file = format!("P6\n{side} {side}\n255\n").into_bytes();
    let (left, top, size) = place(side);
    for y in 0..side {
        for x in 0..side {
            let inside = (left..left + size).contains(&x) && (top..top + size).contains(&y);
            let colour = if inside {
                on_face(look, (x - left) * 100 / size, (y - top) * 100 / size)
            } else {
                // The background differs from photo to photo, so that no two of them are near-duplicates.
                let stripe = (x * (1 + grain % 5) + y * (1 + grain % 3)) / 24 % 2 * 60;
                [60 + (grain * 23 % 90) as u8 + stripe as u8; 3]
            };
            let noise = (((x * 31 + y * 17 + grain * 101) * 2_654_435_761) >> 9) % 9;
            file.extend(colour.map(|v| v.saturating_add(noise as u8)));
        }
    }
    file
}

/// Left, top and size of the face in a picture.
pub(crate) fn place(side: usize) -> (usize, usize, usize) {
    (side / 4, side / 4, side / 2)
}

fn on_face(look: Look, x: usize, y: usize) -> [u8; 3] {
    let eye = y.abs_diff(look.eyes) < 5 && (x.abs_diff(30) < 9 || x.abs_diff(70) < 9);
    match (y, look.mask) {
        (0..18, _) => look.hair,
        _ if eye => [30, 20, 20],
        (52.., Some(mask)) => mask,
        (70..78, None) if x.abs_diff(50) < 20 => [150, 60, 60],
        _ => look.skin,
    }
}

/// A Pascal VOC folder with one face a photo; every third is without a mask, every sixth has it under the nose.
pub(crate) fn voc(folder: &Path, photos: usize) -> PathBuf {
    let root = folder.join("voc");
    for sub in ["images", "annotations"] {
        fs::create_dir_all(root.join(sub)).unwrap();
    }
    for i in 0..photos {
        let mask = (i % 3 != 0).then_some([170, 200, 220]);
        let class = ["without_mask", "with_mask", "with_mask", "without_mask", "with_mask"];
        let class = class.get(i % 6).copied().unwrap_or("mask_weared_incorrect");
        let skin = [170 + (i % 5) as u8 * 12, 130 + (i % 4) as u8 * 10, 110];
        let look = Look { skin, hair: [40, 30, 30], eyes: 38, mask };
        let side = 128;
        let name = format!("photo-{i}.ppm");
        fs::write(root.join("images").join(&name), picture(side, look, i)).unwrap();
        let (left, top, size) = place(side);
        let (right, bottom) = (left + size, top + size);
        let text = format!(
            "<annotation><filename>{name}</filename><object><name>{class}</name><bndbox>\
             <xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>\
             </bndbox></object></annotation>"
        );
        fs::write(root.join("annotations").join(format!("photo-{i}.xml")), text).unwrap();
    }
    root
}

/// A folder of people who differ in skin, hair and eyes; `photos` of each.
pub(crate) fn people(folder: &Path, people: usize, photos: usize) -> PathBuf {
    let root = folder.join("people");
    for person in 0..people {
        let sub = root.join(format!("person-{person:02}"));
        fs::create_dir_all(&sub).unwrap();
        let mix = |k: usize| (person * k) % people * 130 / people;
        let look = Look {
            skin: [110 + mix(1) as u8, 90 + mix(5) as u8, 80 + mix(7) as u8],
            hair: [20 + mix(7) as u8, 20 + mix(1) as u8, 20 + mix(5) as u8],
            eyes: 30 + mix(5) / 10,
            mask: None,
        };
        for photo in 0..photos {
            let name = format!("photo-{photo}.ppm");
            fs::write(sub.join(name), picture(96, look, person * 31 + photo)).unwrap();
        }
    }
    root
}
