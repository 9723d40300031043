//! What a file can meet: another process, another program's tables, a later version, damage, a bad place.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use base::{Fault, Faulty};
use proto::result::FaceLabel;
use results::{FrameFilter, Results, ResultsError, StateKind};
use sqlx::{Connection, Executor};

use crate::example::{at, frame, receipt, record, result};

/// Frames that each of two writers writes.
const FRAMES: u64 = 30;

fn url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("results.db").display())
}

/// Both await and finish the same frames and record the same clips: each is done once.
pub(crate) async fn two_handles_write_at_once(one: &Results, two: &Results) {
    let (a, b) = tokio::join!(write_all(one), write_all(two));
    assert_eq!(a + b, 3 * FRAMES, "a write counted twice, or not at all");
    let cameras = one.cameras().await.unwrap();
    assert_eq!(cameras.len(), 1);
    assert_eq!((cameras[0].delivered, cameras[0].counts.total().frames), (FRAMES, FRAMES));
    assert_eq!(cameras[0].counts.total().mask, FRAMES);
}

/// How many of the writes were the first of their kind.
async fn write_all(results: &Results) -> u64 {
    let mut first = 0;
    for n in 0..FRAMES {
        let record = record("door", n);
        let (manifest, key) = frame("door", n * 2);
        let result = result(&manifest, &[FaceLabel::Mask]);
        first += u64::from(results.record_clip(&record, &receipt(&record, 1)).await.unwrap());
        first += u64::from(results.await_frame(&manifest, &key, at(60)).await.unwrap());
        first += u64::from(results.insert_result(&key, &result, at(61)).await.unwrap());
    }
    first
}

#[tokio::test]
async fn an_empty_place_becomes_a_database_for_its_owner_and_opens_again() {
    let folder = tempfile::tempdir().unwrap();
    let url = url(folder.path());
    let results = Results::open(&url).await.unwrap();
    let (manifest, key) = frame("door", 1);
    results.await_frame(&manifest, &key, at(1)).await.unwrap();
    results.close().await;
    let mode = fs::metadata(folder.path().join("results.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let results = Results::open(&url).await.unwrap();
    results.ping().await.unwrap();
    assert_eq!(results.frames(&FrameFilter::default(), 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_file_name_may_hold_what_a_url_may_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ré sults?#100%.db");
    Results::open(&format!("sqlite:{}", file.display())).await.unwrap().close().await;
    assert!(file.exists(), "{:?}", fs::read_dir(folder.path()).unwrap().collect::<Vec<_>>());
}

#[tokio::test]
async fn many_open_an_empty_file_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let url = url(folder.path());
        opening.spawn(async move { Results::open(&url).await.map(drop) });
    }
    for opened in opening.join_all().await {
        opened.unwrap();
    }
}

#[tokio::test]
async fn two_handles_on_one_file_write_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let one = Results::open(&url(folder.path())).await.unwrap();
    let two = Results::open(&url(folder.path())).await.unwrap();
    two_handles_write_at_once(&one, &two).await;
    crate::tracks::two_handles_link_one_clip(&one, &two).await;
}

/// Set in the process that the next test starts of itself.
const OTHER: &str = "CELOSIA_TEST_RESULTS";

#[tokio::test]
async fn two_processes_on_one_file_write_at_once() {
    if let Some(url) = std::env::var_os(OTHER) {
        let results = Results::open(url.to_str().unwrap()).await.unwrap();
        write_all(&results).await;
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let url = url(folder.path());
    let name = "files::two_processes_on_one_file_write_at_once";
    let mut other = Command::new(std::env::current_exe().unwrap());
    other.args(["--exact", name]).env(OTHER, &url).stdout(Stdio::null());
    let mut other = other.spawn().unwrap();
    let results = Results::open(&url).await.unwrap();
    write_all(&results).await;
    assert!(other.wait().unwrap().success());
    let filter = FrameFilter { state: Some(StateKind::Done), ..Default::default() };
    assert_eq!(
        results.frames(&filter, 1000).await.unwrap().len(),
        usize::try_from(FRAMES).unwrap()
    );
    assert_eq!(results.cameras().await.unwrap()[0].counts.total().mask, FRAMES);
}

#[tokio::test]
async fn a_reader_does_not_wait_for_a_writer_and_a_locked_database_is_worth_another_try() {
    let folder = tempfile::tempdir().unwrap();
    let url = url(folder.path());
    let results = Results::open(&url).await.unwrap();
    sqlx::any::install_default_drivers();
    let mut other = sqlx::AnyConnection::connect(&url).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    assert!(results.cameras().await.unwrap().is_empty());
    let (manifest, key) = frame("door", 1);
    let error = results.await_frame(&manifest, &key, at(1)).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Transient, "{error}");
    other.execute("COMMIT").await.unwrap();
    assert!(results.await_frame(&manifest, &key, at(1)).await.unwrap());
}

#[tokio::test]
async fn a_damaged_or_foreign_file_is_refused_with_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("results.db");
    fs::write(&file, "this is a diary, not a database. ".repeat(100)).unwrap();
    let error = Results::open(&url(folder.path())).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Corrupt, "{error}");
    let line = error.to_string();
    assert!(line.contains("results.db is damaged") && !line.contains('\n'), "{line}");
    assert!(fs::read_to_string(&file).unwrap().starts_with("this is a diary"), "it was written to");

    let foreign = folder.path().join("foreign.db");
    drop(fs::File::create(&foreign).unwrap());
    let foreign = format!("sqlite:{}", foreign.display());
    sqlx::any::install_default_drivers();
    let mut other = sqlx::AnyConnection::connect(&foreign).await.unwrap();
    other.execute("CREATE TABLE theirs (a INT)").await.unwrap();
    let error = Results::open(&foreign).await.unwrap_err();
    assert!(matches!(error, ResultsError::Foreign { .. }), "{error}");
    assert!(error.to_string().contains("theirs"), "{error}");
}

#[tokio::test]
async fn a_file_that_lost_its_end_says_so_when_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let results = Results::open(&url(folder.path())).await.unwrap();
    write_all(&results).await;
    results.close().await;
    let file = fs::File::options().write(true).open(folder.path().join("results.db")).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2 / 4096 * 4096).unwrap();
    let read = async {
        let results = Results::open(&url(folder.path())).await?;
        results.frames(&FrameFilter::default(), 1000).await.map(|frames| frames.len())
    };
    let error = read.await.unwrap_err();
    assert_eq!(error.fault(), Fault::Corrupt, "{error}");
}

#[tokio::test]
async fn a_later_version_is_refused_and_a_changed_migration_too() {
    let folder = tempfile::tempdir().unwrap();
    let url = url(folder.path());
    Results::open(&url).await.unwrap().close().await;
    let mut other = sqlx::AnyConnection::connect(&url).await.unwrap();
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, \
        execution_time) VALUES (99, 'later', TRUE, x'00', 0)";
    other.execute(later).await.unwrap();
    let error = Results::open(&url).await.unwrap_err();
    assert!(matches!(error, ResultsError::Later { version: 99, .. }), "{error}");
    other.execute("DELETE FROM _sqlx_migrations WHERE version = 99").await.unwrap();
    other.execute("UPDATE _sqlx_migrations SET checksum = x'00'").await.unwrap();
    let error = Results::open(&url).await.unwrap_err();
    assert!(matches!(error, ResultsError::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn a_place_that_cannot_be_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = format!("sqlite:{}", folder.path().join("no/such/results.db").display());
    let error = Results::open(&nowhere).await.unwrap_err();
    assert!(matches!(error, ResultsError::File { .. }), "{error}");
    assert!(error.to_string().contains("no/such/results.db"), "{error}");
    let error = Results::open("mysql://results").await.unwrap_err();
    assert_eq!(error.fault(), Fault::Misuse, "{error}");
}
