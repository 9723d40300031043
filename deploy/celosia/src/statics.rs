//! Owns what is always filled in a site's pictures: the polygons of the command line as the file that the fog node reads,
//! which alone judges them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use proto::CameraId;

use crate::{run::RunError, site::Camera};

/// A static region of a camera that is not there.
#[derive(Debug, thiserror::Error)]
#[error("static region {text:?}: there is no camera {camera}, there are {known}")]
pub struct Stranger {
    text: String,
    camera: String,
    known: String,
}

/// Writes the file when there are any regions; each is `CAMERA:CORNERS`, or `CORNERS` for every camera.
///
/// # Errors
/// When a camera is not one of these, or the file cannot be written.
pub(crate) fn write(
    path: &Path,
    regions: &[String],
    cameras: &[Camera],
) -> Result<Option<PathBuf>, RunError> {
    if regions.is_empty() {
        return Ok(None);
    }
    let table = by_camera(regions, cameras)?;
    let failed = |source| RunError::Folder { path: path.to_owned(), source };
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
    let text = toml::to_string(&table).map_err(crate::site::SiteError::from)?;
    base::files::write_durable(path, text.as_bytes()).map_err(failed)?;
    Ok(Some(path.to_owned()))
}

fn by_camera<'a>(
    regions: &'a [String],
    cameras: &'a [Camera],
) -> Result<BTreeMap<&'a CameraId, Vec<&'a str>>, Stranger> {
    let mut table: BTreeMap<&CameraId, Vec<&str>> = BTreeMap::new();
    for text in regions {
        let (camera, corners) = text
            .split_once(':')
            .map_or((None, text.as_str()), |(camera, rest)| (Some(camera), rest));
        let meant = |id: &CameraId| camera.is_none_or(|camera| id.to_string() == camera);
        let mut ids = cameras.iter().map(|c| &c.id).filter(|id| meant(id)).peekable();
        if ids.peek().is_none() {
            let known: Vec<String> = cameras.iter().map(|camera| camera.id.to_string()).collect();
            let camera = camera.unwrap_or_default().to_owned();
            return Err(Stranger { text: text.clone(), camera, known: known.join(", ") });
        }
        ids.for_each(|id| table.entry(id).or_default().push(corners));
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(id: &str) -> Camera {
        Camera {
            id: id.parse().unwrap(),
            source: "test:ball".to_owned(),
            user: None,
            password_file: None,
            clip: None,
            every: "5s".to_owned(),
            repeat: false,
            start: None,
        }
    }

    #[test]
    fn a_region_is_of_the_named_camera_or_of_all() {
        let (cameras, folder) = ([camera("door"), camera("yard")], tempfile::tempdir().unwrap());
        let path = folder.path().join("config/static-regions.toml");
        let regions = ["0,0 1,0 1,1".to_owned(), "yard:0,0 0.5,0 0.5,1".to_owned()];
        assert_eq!(write(&path, &regions, &cameras).unwrap(), Some(path.clone()));
        let table: BTreeMap<String, Vec<String>> =
            toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(table["door"], ["0,0 1,0 1,1"]);
        assert_eq!(table["yard"], ["0,0 1,0 1,1", "0,0 0.5,0 0.5,1"]);
        assert_eq!(write(&path, &[], &cameras).unwrap(), None);
    }

    #[test]
    fn a_camera_that_is_not_there_is_told_with_those_that_are() {
        let error = by_camera(&["gate:0,0 1,0 1,1".to_owned()], &[camera("door")]).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("gate") && error.contains("door"), "{error}");
    }
}
