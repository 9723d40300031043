//! The database as its users meet it: stories on a SQLite file and, where one is installed, on a PostgreSQL server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests stop at the first surprise"
)]

mod example;
mod files;
mod frames;
mod logins;
mod postgres;
mod sums;
mod tracks;

use std::{future::Future, pin::Pin};

use results::Results;

/// A story on an empty database.
type Story = fn(Results) -> Pin<Box<dyn Future<Output = ()>>>;

/// Every story and its name.
const STORIES: &[(&str, Story)] = &[
    ("a clip is recorded once and its first receipt stays", |r| Box::pin(frames::clip_once(r))),
    ("a receipt of another record is refused", |r| Box::pin(frames::other_receipt(r))),
    ("clips come oldest first in pages", |r| Box::pin(frames::clips_in_pages(r))),
    ("a packed frame keeps its place", |r| Box::pin(frames::packed(r))),
    ("a frame goes from awaiting to done and never back", |r| Box::pin(frames::never_back(r))),
    ("overdue frames come longest waiting first", |r| Box::pin(frames::overdue(r))),
    ("a dead frame stays dead until a result comes after all", |r| Box::pin(frames::dead(r))),
    ("a result faster than the bridge is kept", |r| Box::pin(frames::fast_result(r))),
    ("what belongs to another frame is refused", |r| Box::pin(frames::other_frame(r))),
    ("frames come in pages of both orders", |r| Box::pin(frames::frames_in_pages(r))),
    ("sums follow from what was written once", |r| Box::pin(sums::written_once(r))),
    ("minutes and hours say the same", |r| Box::pin(sums::minutes_and_hours(r))),
    ("classifiers are counted apart", |r| Box::pin(sums::by_model(r))),
    ("a late frame links what it lies between", |r| Box::pin(tracks::late_frame(r))),
    ("tracks do not depend on the order of arrival", |r| Box::pin(tracks::any_order(r))),
    ("slots without a frame are shown with reasons", |r| Box::pin(sums::unseen(r))),
    ("a user is let in with the password alone", |r| Box::pin(logins::password_alone(r))),
    ("names and passwords of no use are refused", |r| Box::pin(logins::of_no_use(r))),
    ("wrong passwords are throttled per user", |r| Box::pin(logins::throttled_per_user(r))),
    ("one address cannot guess at many users", |r| Box::pin(logins::throttled_per_address(r))),
    ("one user is not guessed at from everywhere", |r| {
        Box::pin(logins::throttled_from_everywhere(r))
    }),
    ("guesses at once are all counted", |r| Box::pin(logins::guesses_at_once(r))),
    ("a session ends when ended, idle or old", |r| Box::pin(logins::session_ends(r))),
    ("another password ends the sessions", |r| Box::pin(logins::another_password(r))),
    ("the audit log tells who came and who did not", |r| Box::pin(logins::audit_log(r))),
];

#[tokio::test]
async fn every_story_holds_on_a_file() {
    for (name, story) in STORIES {
        println!("{name}");
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("results.db").display());
        let results = Results::open(&url).await.unwrap();
        story(results.clone()).await;
        results.close().await;
    }
}

#[tokio::test]
async fn every_story_holds_on_a_postgresql_server() {
    let Some(server) = postgres::Server::start() else {
        // Straight to standard error: the test harness would keep a passed test's output to itself.
        let line = b"SKIPPED: no PostgreSQL server under /usr/lib/postgresql; install postgresql\n";
        std::io::Write::write_all(&mut std::io::stderr(), line).unwrap();
        return;
    };
    for (index, (name, story)) in STORIES.iter().enumerate() {
        println!("{name}");
        let results = Results::open(&server.database(&format!("story{index}"))).await.unwrap();
        story(results.clone()).await;
        results.close().await;
    }
    server.opens_again_and_refuses_foreign().await;
}
