//! Stories of users, sessions and the log of who came.

use std::time::Duration;

use base::{Fault, Faulty};
use results::{
    ADDRESS_FAILURES_MAX, ATTEMPT_WINDOW, Event, Login, PAIR_FAILURES_MAX, Results, SESSION_IDLE,
    SESSION_LIFE, SessionToken, USER_FAILURES_MAX,
};

use crate::example::at;

const PASSWORD: &str = "correct horse";
const HERE: &str = "127.0.0.1";

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap()
}

async fn with_ana(results: &Results) {
    assert!(results.create_user("ana", PASSWORD, at(0)).await.unwrap());
}

async fn verify(
    results: &Results,
    name: &str,
    password: &str,
    address: &str,
    second: i64,
) -> Login {
    results.verify(name, password, address, at(second)).await.unwrap()
}

pub(crate) async fn password_alone(results: Results) {
    assert!(!results.has_users().await.unwrap());
    with_ana(&results).await;
    assert!(results.has_users().await.unwrap());
    assert!(!results.create_user("ana", "another password", at(1)).await.unwrap());
    assert_eq!(verify(&results, "ana", PASSWORD, HERE, 2).await, Login::Accepted);
    for (name, password) in
        [("ana", "another password"), ("ana", ""), ("Ana", PASSWORD), ("eve", PASSWORD), ("", "")]
    {
        let login = verify(&results, name, password, HERE, 3).await;
        assert_eq!(login, Login::Wrong, "{name:?} with {password:?}");
    }
}

pub(crate) async fn of_no_use(results: Results) {
    let long = "x".repeat(257);
    for (name, password) in [
        ("", PASSWORD),
        ("a\nb", PASSWORD),
        (" ana", PASSWORD),
        (&"x".repeat(65), PASSWORD),
        ("ana", "too short"),
        ("ana", long.as_str()),
    ] {
        let error = results.create_user(name, password, at(0)).await.unwrap_err();
        assert_eq!(error.fault(), Fault::Misuse, "{error}");
        assert!(!error.to_string().contains(password), "{error}");
    }
    assert!(!results.has_users().await.unwrap());
}

pub(crate) async fn throttled_per_user(results: Results) {
    with_ana(&results).await;
    for _ in 0..PAIR_FAILURES_MAX {
        assert_eq!(verify(&results, "ana", "wrong password", HERE, 10).await, Login::Wrong);
    }
    let until = at(10 + seconds(ATTEMPT_WINDOW));
    let right_but_late = verify(&results, "ana", PASSWORD, HERE, 20).await;
    assert_eq!(right_but_late, Login::Throttled { until });
    let elsewhere = verify(&results, "ana", PASSWORD, "10.0.0.9", 20).await;
    assert_eq!(elsewhere, Login::Accepted, "she is not locked out everywhere");
    let after = 10 + seconds(ATTEMPT_WINDOW);
    assert_eq!(verify(&results, "ana", PASSWORD, HERE, after).await, Login::Accepted);
    // A right password starts anew: as many mistakes as before are allowed.
    for _ in 0..PAIR_FAILURES_MAX {
        assert_eq!(verify(&results, "ana", "wrong password", HERE, after).await, Login::Wrong);
    }
}

pub(crate) async fn throttled_per_address(results: Results) {
    with_ana(&results).await;
    for guess in 0..ADDRESS_FAILURES_MAX {
        let name = format!("user{guess}");
        assert_eq!(verify(&results, &name, "wrong password", HERE, 10).await, Login::Wrong);
    }
    let login = verify(&results, "ana", PASSWORD, HERE, 11).await;
    assert!(matches!(login, Login::Throttled { .. }), "{login:?}");
    assert_eq!(verify(&results, "ana", PASSWORD, "10.0.0.9", 11).await, Login::Accepted);
}

pub(crate) async fn throttled_from_everywhere(results: Results) {
    with_ana(&results).await;
    for n in 0..USER_FAILURES_MAX {
        let address = format!("10.0.1.{n}");
        let login = verify(&results, "ana", "wrong password", &address, 10).await;
        assert_eq!(login, Login::Wrong);
    }
    let login = verify(&results, "ana", PASSWORD, "10.0.2.1", 11).await;
    assert!(matches!(login, Login::Throttled { .. }), "{login:?}");
    let after = 10 + seconds(ATTEMPT_WINDOW);
    assert_eq!(verify(&results, "ana", PASSWORD, "10.0.2.1", after).await, Login::Accepted);
}

pub(crate) async fn guesses_at_once(results: Results) {
    with_ana(&results).await;
    let mut guesses = tokio::task::JoinSet::new();
    for _ in 0..PAIR_FAILURES_MAX * 2 {
        let results = results.clone();
        guesses.spawn(async move { verify(&results, "ana", "wrong password", HERE, 10).await });
    }
    let logins = guesses.join_all().await;
    let looked_at = logins.iter().filter(|login| **login == Login::Wrong).count();
    assert_eq!(looked_at, PAIR_FAILURES_MAX as usize);
}

pub(crate) async fn session_ends(results: Results) {
    with_ana(&results).await;
    let token = results.open_session("ana", HERE, at(0)).await.unwrap();
    let session = results.session(&token, at(1)).await.unwrap().unwrap();
    assert_eq!((session.name.as_str(), session.opened_at), ("ana", at(0)));
    let stranger = SessionToken::parse(&"0f".repeat(32)).unwrap();
    assert_eq!(results.session(&stranger, at(1)).await.unwrap(), None);
    // Used again and again it lives on, but not for ever.
    let idle = seconds(SESSION_IDLE);
    let life = seconds(SESSION_LIFE);
    for second in (0..life).step_by(usize::try_from(idle - 1).unwrap()) {
        assert!(results.session(&token, at(second)).await.unwrap().is_some(), "{second}");
    }
    assert_eq!(results.session(&token, at(life)).await.unwrap(), None, "too old");
    let token = results.open_session("ana", HERE, at(0)).await.unwrap();
    assert_eq!(results.session(&token, at(idle)).await.unwrap(), None, "idle");
    let token = results.open_session("ana", HERE, at(0)).await.unwrap();
    assert!(results.close_session(&token, HERE, at(1)).await.unwrap());
    assert!(!results.close_session(&token, HERE, at(1)).await.unwrap());
    assert_eq!(results.session(&token, at(1)).await.unwrap(), None, "ended");
}

pub(crate) async fn another_password(results: Results) {
    with_ana(&results).await;
    let token = results.open_session("ana", HERE, at(0)).await.unwrap();
    assert!(!results.change_password("eve", "battery staple", at(1)).await.unwrap());
    assert!(results.change_password("ana", "battery staple", at(1)).await.unwrap());
    assert_eq!(results.session(&token, at(2)).await.unwrap(), None);
    assert_eq!(verify(&results, "ana", PASSWORD, HERE, 3).await, Login::Wrong);
    assert_eq!(verify(&results, "ana", "battery staple", HERE, 3).await, Login::Accepted);
}

pub(crate) async fn audit_log(results: Results) {
    with_ana(&results).await;
    for second in 1..=i64::from(PAIR_FAILURES_MAX) + 3 {
        let login = verify(&results, "ana", "wrong password", HERE, second).await;
        assert_ne!(login, Login::Accepted);
    }
    let token = results.open_session("ana", HERE, at(20)).await.unwrap();
    results.close_session(&token, HERE, at(21)).await.unwrap();
    let log = results.audit(100).await.unwrap();
    let told: Vec<Event> = log.iter().map(|row| row.event).collect();
    let mut expected = vec![Event::Logout, Event::Login, Event::Throttled];
    expected.extend([Event::WrongPassword; PAIR_FAILURES_MAX as usize]);
    expected.push(Event::UserCreated);
    assert_eq!(told, expected);
    assert_eq!((log[0].name.as_str(), log[0].address.as_str(), log[0].at), ("ana", HERE, at(21)));
    assert_eq!(results.audit(2).await.unwrap().len(), 2);
}
