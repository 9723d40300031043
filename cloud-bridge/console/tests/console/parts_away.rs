//! Stories of parts that are away: the pages answer and say so.

use std::{sync::Arc, time::Duration};

use base::Shutdown;
use hyper::StatusCode;
use link::mqtt::Broken;
use store::faulty::{Faulty, Plan};

use crate::{
    example::scene::street,
    running::{Differs, Running, at, start, start_with},
};

async fn one_frame(console: &Running) -> String {
    let scene = street(1, 3);
    let done = console.site.done("door", 0, at(-60), (&scene.jpeg, &scene.faces)).await;
    done.frame.to_string()
}

#[tokio::test]
async fn without_the_object_store_pages_answer_and_say_so() {
    for plan in [Plan::Away, Plan::Refusing] {
        let away = |site: &crate::example::Example| Differs {
            reader: Some(Arc::new(Faulty::new(site.frames.clone(), plan))),
            ..Differs::default()
        };
        let console = start_with(away).await;
        let frame = one_frame(&console).await;
        let browser = console.signed_in().await;
        for path in ["/", "/cameras/door", &format!("/frames/{frame}")] {
            let page = browser.get(path).await;
            assert_eq!(page.status, StatusCode::OK, "{path}");
            assert!(page.text().contains("The object store does not answer."), "{path}");
        }
        let page = browser.get(&format!("/frames/{frame}")).await.text();
        assert!(page.contains("Not verified: the object store does not answer"), "{page}");
        let picture = browser.get(&format!("/pictures/{frame}")).await;
        assert_eq!(picture.status, StatusCode::BAD_GATEWAY);
        assert!(picture.text().contains("<svg"), "a broken picture says nothing");
        let health = browser.get("/health").await;
        assert_eq!(health.status, StatusCode::OK);
        assert!(health.text().contains("\"store\":\"away\""), "{}", health.text());
    }
}

#[tokio::test]
async fn a_store_that_is_back_is_said_to_be_back() {
    let start_away = |site: &crate::example::Example| Differs {
        reader: Some(Arc::new(Faulty::new(site.frames.clone(), Plan::AwayOnce(0)))),
        ..Differs::default()
    };
    let console = start_with(start_away).await;
    drop(one_frame(&console).await);
    let browser = console.signed_in().await;
    let notice = "The object store does not answer.";
    assert!(browser.get("/").await.text().contains(notice));
    assert!(browser.get("/").await.text().contains(notice), "it is not asked at each page");
    console.clock.advance(Duration::from_secs(11));
    assert!(!browser.get("/").await.text().contains(notice));
}

#[tokio::test]
async fn without_the_broker_pages_answer_and_say_so() {
    let broken = |_: &_| Differs { bus: Some(Broken::bus()), ..Differs::default() };
    let console = start_with(broken).await;
    let browser = console.signed_in().await;
    assert!(!browser.get("/").await.text().contains("broker does not answer"), "not at once");
    console.clock.advance(Duration::from_secs(21));
    let page = browser.get("/").await.text();
    assert!(page.contains("The message broker does not answer."), "{page}");
    let health = browser.get("/health").await.text();
    assert!(health.contains("\"broker\":\"away\""), "{health}");

    let none = |_: &_| Differs { without_bus: true, ..Differs::default() };
    let console = start_with(none).await;
    let page = console.signed_in().await.get("/").await.text();
    assert!(page.contains("No message broker is configured"), "{page}");
}

#[tokio::test]
async fn without_the_database_nobody_is_let_in_and_a_page_says_so() {
    let console = start().await;
    let browser = console.signed_in().await;
    console.site.results.close().await;
    for path in ["/", "/login", "/sign-ins"] {
        let answer = browser.get(path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(answer.text().contains("The results database does not answer"), "{path}");
        assert!(!answer.text().contains("results.db"), "{path} says where it lies");
    }
    let health = browser.get("/health").await;
    assert_eq!(health.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(health.text().contains("\"database\":\"away\""));
}

#[tokio::test]
async fn a_console_that_is_told_to_stop_says_so_on_the_bus_and_ends_in_time() {
    let console = start().await;
    let browser = console.signed_in().await;
    assert_eq!(browser.get("/").await.status, StatusCode::OK);
    let topic = "celosia/v1/town/console-console/status";
    let said = console.site.broker.retained(topic).unwrap();
    assert!(String::from_utf8_lossy(&said.payload).contains("\"online\""));
    // The browser keeps its connection open.
    let shutdown: &Shutdown = &console.shutdown;
    shutdown.request();
    assert!(shutdown.drain(Duration::from_secs(10)).await, "it did not end");
    let said = console.site.broker.retained(topic).unwrap();
    assert!(String::from_utf8_lossy(&said.payload).contains("\"offline\""));
}
