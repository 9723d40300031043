//! Owns the drawing of regions: the only code that covers faces, and a function of the manifest's regions alone.

use proto::manifest::{FILL_RGB, Grid, Region};
use vision::{Area, Picture};

use crate::regions::cell_of;

/// Which grid owns each pixel: the first one in order that covers it. No pixel is in two cells.
pub(crate) fn owned(grids: &[&Grid], index: usize, x: u32, y: u32) -> bool {
    !grids.iter().take(index).any(|grid| {
        let rect = grid.rect;
        (rect.x..rect.x + rect.w).contains(&x) && (rect.y..rect.y + rect.h).contains(&y)
    })
}

/// Calls `each(x, y, cell)` for every pixel that a grid owns, `cell` counting row by row.
pub(crate) fn pixels_of(grids: &[&Grid], index: usize, mut each: impl FnMut(u32, u32, usize)) {
    let Some(grid) = grids.get(index) else { return };
    let rect = grid.rect;
    for dy in 0..rect.h {
        let row = cell_of(dy, rect.h, grid.rows);
        for dx in 0..rect.w {
            let column = cell_of(dx, rect.w, grid.cols);
            if owned(grids, index, rect.x + dx, rect.y + dy) {
                each(rect.x + dx, rect.y + dy, (row * u32::from(grid.cols) + column) as usize);
            }
        }
    }
}

/// Draws the regions: every fill first, then the grids in order.
pub fn draw(picture: &mut Picture, regions: &[Region]) {
    for rect in regions.iter().flat_map(|region| &region.fill) {
        picture.fill(Area { x: rect.x, y: rect.y, w: rect.w, h: rect.h }, FILL_RGB);
    }
    let grids: Vec<&Grid> = regions.iter().filter_map(|region| region.grid.as_ref()).collect();
    for (index, grid) in grids.iter().enumerate() {
        let values = grid.cells.as_chunks::<3>().0;
        pixels_of(&grids, index, |x, y, cell| {
            if let Some(value) = values.get(cell) {
                picture.fill(Area { x, y, w: 1, h: 1 }, *value);
            }
        });
    }
}

/// Whether what the regions cover is, byte for byte, what [`draw`] gives on any picture.
pub(crate) fn is_drawn(picture: &Picture, regions: &[Region]) -> bool {
    let mut again = picture.duplicate();
    // Whatever was under the regions is first replaced, so that a pixel that drawing missed cannot pass.
    for region in regions {
        let grid = region.grid.as_ref().map(|grid| grid.rect);
        for rect in region.fill.iter().copied().chain(grid) {
            again.fill(Area { x: rect.x, y: rect.y, w: rect.w, h: rect.h }, [1, 254, 1]);
        }
    }
    draw(&mut again, regions);
    (0..picture.height())
        .all(|y| picture.row(y, 0, picture.width()) == again.row(y, 0, again.width()))
}
