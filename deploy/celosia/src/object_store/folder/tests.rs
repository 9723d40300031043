//! Owns the tests of the folder of objects.

use super::*;

fn open(root: &Path) -> Folder {
    Folder::open(root, &["frames".to_owned(), "results".to_owned()]).unwrap()
}

fn keys(folder: &Folder, prefix: &str, after: Option<&str>, max: usize) -> (Vec<String>, bool) {
    let (found, more) = folder.list("frames", Listing { prefix, after, max }).unwrap();
    (found.into_iter().map(|entry| entry.key).collect(), more)
}

#[test]
fn an_object_is_created_once_and_replaced_only_when_that_is_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let folder = open(root.path());
    assert_eq!(folder.put("frames", "a/b.jpg", b"one", true).unwrap(), Placed::Written);
    assert_eq!(folder.put("frames", "a/b.jpg", b"two", true).unwrap(), Placed::WasThere);
    assert_eq!(folder.read("frames", "a/b.jpg").unwrap().bytes, b"one");
    assert_eq!(folder.put("frames", "a/b.jpg", b"three", false).unwrap(), Placed::Written);
    assert_eq!(folder.read("frames", "a/b.jpg").unwrap().bytes, b"three");
    assert_eq!(fs::read_dir(root.path().join("incoming")).unwrap().count(), 0, "a part stayed");
}

#[test]
fn of_many_writers_of_one_key_exactly_one_creates_it() {
    let root = tempfile::tempdir().unwrap();
    let folder = open(root.path());
    for round in 0..20 {
        let key = format!("race/{round}");
        let write = |n: u8| (n, folder.put("frames", &key, &[n; 1000], true).unwrap());
        let outcomes: Vec<(u8, Placed)> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8).map(|n| scope.spawn(move || write(n))).collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        let won: Vec<u8> =
            outcomes.iter().filter(|(_, placed)| *placed == Placed::Written).map(|o| o.0).collect();
        let [winner] = won.as_slice() else { panic!("{won:?} created the same object") };
        assert_eq!(folder.read("frames", &key).unwrap().bytes, [*winner; 1000]);
    }
}

#[test]
fn the_next_server_removes_what_an_interrupted_one_was_writing_and_keeps_the_rest() {
    let root = tempfile::tempdir().unwrap();
    let folder = open(root.path());
    assert_eq!(folder.put("frames", "kept", b"whole", true).unwrap(), Placed::Written);
    fs::write(root.path().join("incoming/7"), b"hal").unwrap();
    assert!(Folder::open(root.path(), &[]).is_err(), "two servers on one folder");
    drop(folder);
    let folder = open(root.path());
    assert_eq!(fs::read_dir(root.path().join("incoming")).unwrap().count(), 0);
    assert_eq!(folder.read("frames", "kept").unwrap().bytes, b"whole");
}

#[test]
fn keys_that_are_no_path_below_their_bucket_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let folder = open(root.path());
    let long = "x".repeat(256);
    let longest = ["x"; 513].join("/");
    let wrong = ["", "/", "a/", "/a", "a//b", "../frames2/a", "a/../../b", ".", "a\0b"];
    for key in wrong.into_iter().chain([long.as_str(), longest.as_str()]) {
        let error = folder.put("frames", key, b"x", true).unwrap_err();
        assert!(matches!(error, FolderError::Key(..)), "{key:?}: {error}");
        assert!(folder.read("frames", key).is_err(), "{key:?}");
    }
    for bucket in ["", ".", "..", "../buckets/frames", "other"] {
        let error = folder.put(bucket, "a", b"x", true).unwrap_err();
        assert!(matches!(error, FolderError::NoBucket(_)), "{bucket:?}: {error}");
    }
    assert_eq!(folder.put("frames", "a/b", b"x", true).unwrap(), Placed::Written);
    for (key, once) in [("a", true), ("a", false), ("a/b/c", true), ("a/b/c", false)] {
        let error = folder.put("frames", key, b"x", once).unwrap_err();
        assert!(matches!(error, FolderError::Key(..)), "{key:?}: {error}");
    }
    assert!(matches!(folder.read("frames", "a").unwrap_err(), FolderError::NoKey(_)));
}

#[test]
fn a_listing_follows_the_order_of_whole_keys_and_goes_on_where_it_ended() {
    let root = tempfile::tempdir().unwrap();
    let folder = open(root.path());
    // `-` and `.` come before `/`, `0` after it: names of folders alone would be in another order.
    let mut all: Vec<String> =
        ["a-b/1", "a.b/1", "a/1", "a/2", "a/b/3", "a0/1", "b", "c/d/e/f"].map(String::from).into();
    for key in all.iter().rev() {
        assert_eq!(folder.put("frames", key, b"x", true).unwrap(), Placed::Written);
    }
    all.sort();
    assert_eq!(keys(&folder, "", None, 100), (all.clone(), false));
    for page in 1..=all.len() {
        let (mut seen, mut after) = (Vec::new(), None::<String>);
        loop {
            let (found, more) = keys(&folder, "", after.as_deref(), page);
            assert!(found.len() == page || !more);
            after = found.last().cloned();
            seen.extend(found);
            if !more {
                break;
            }
        }
        assert_eq!(seen, all, "pages of {page}");
    }
    assert_eq!(keys(&folder, "a/", None, 9).0, ["a/1", "a/2", "a/b/3"]);
    assert_eq!(keys(&folder, "a", Some("a/1"), 9).0, ["a/2", "a/b/3", "a0/1"]);
    assert_eq!(keys(&folder, "c/d/e/f", None, 9).0, ["c/d/e/f"]);
    for nothing in ["x", "a/1/", "../", "c/d/e/f/g", "a//"] {
        assert_eq!(keys(&folder, nothing, None, 9), (vec![], false), "{nothing}");
    }
}

#[test]
fn a_folder_that_was_tidied_away_is_made_again() {
    let root = tempfile::tempdir().unwrap();
    let folder = open(root.path());
    assert_eq!(folder.put("frames", "day/1", b"x", true).unwrap(), Placed::Written);
    fs::remove_dir_all(root.path().join("buckets/frames/day")).unwrap();
    assert_eq!(folder.put("frames", "day/2", b"x", true).unwrap(), Placed::Written);
    assert_eq!(keys(&folder, "", None, 9).0, ["day/2"]);
}
