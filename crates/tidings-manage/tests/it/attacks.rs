//! Who may not ask, and what a request may not take.

use crate::support::{Owner, answer, has, publish};
use std::time::Duration;
use tidings_core::Message;
use tidings_manage::ServerOptions;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[tokio::test]
async fn what_is_in_order_is_answered_and_nothing_else_is() {
    let owner = Owner::plain();
    let (address, token) = (owner.address(), owner.token());
    let port = address.port();
    let line = "GET /v1/about HTTP/1.1\r\n";
    let host = format!("host: {address}\r\n");
    let bearer = format!("authorization: Bearer {token}\r\n");
    let wrong = format!("authorization: Bearer {}\r\n", "0".repeat(64));
    let shorter = format!("authorization: Bearer {}\r\n", &token[..63]);
    let requests = [
        (200, format!("{line}{host}{bearer}")),
        (200, format!("{line}host: LocalHost:{port}\r\n{bearer}")),
        // Without the token, or not quite with it.
        (401, format!("{line}{host}")),
        (401, format!("{line}{host}{wrong}")),
        (401, format!("{line}{host}{shorter}")),
        (401, format!("{line}{host}authorization: Bearer \r\n")),
        (401, format!("{line}{host}authorization: Basic {token}\r\n")),
        (401, format!("{line}{host}{wrong}{bearer}")),
        // A name that somebody else made lead here.
        (403, format!("{line}host: evil.example:{port}\r\n{bearer}")),
        (
            403,
            format!("{line}host: 127.0.0.1.evil.example:{port}\r\n{bearer}"),
        ),
        (403, format!("{line}host: 127.0.0.1\r\n{bearer}")),
        (403, format!("{line}host: 127.0.0.1:1\r\n{bearer}")),
        (403, format!("{line}host: \r\n{bearer}")),
        (403, format!("{line}{host}host: evil.example\r\n{bearer}")),
        (
            403,
            format!("GET http://evil.example/v1/about HTTP/1.1\r\n{host}{bearer}"),
        ),
        // A page in a browser, also one that found out the token.
        (403, format!("{line}{host}{bearer}origin: http://{address}\r\n")),
        (403, format!("{line}{host}{bearer}origin: null\r\n")),
        (
            403,
            format!("{line}{host}{bearer}sec-fetch-site: same-origin\r\n"),
        ),
        (
            403,
            format!("OPTIONS /v1/binder/publish HTTP/1.1\r\n{host}{bearer}origin: http://evil.example\r\n"),
        ),
        // Paths and methods.
        (404, format!("GET /v1/nothing HTTP/1.1\r\n{host}{bearer}")),
        (404, format!("GET / HTTP/1.1\r\n{host}{bearer}")),
        (405, format!("GET /v1/binder/publish HTTP/1.1\r\n{host}{bearer}")),
        (401, format!("GET /v1/nothing HTTP/1.1\r\n{host}")),
    ];
    for (status, request) in requests {
        let (found, text) = owner.raw(format!("{request}connection: close\r\n\r\n")).await;
        assert_eq!(found, status, "{request}\n{text}");
        assert!(!text.to_lowercase().contains("access-control-"), "{text}");
        assert!(!text.contains(&token), "the token is in no answer");
    }
}

#[tokio::test]
async fn bodies_that_are_no_requests_are_refused_with_the_cure() {
    let owner = Owner::plain();
    has(&*owner.broker, "orders", 1).await;
    for (path, body, status, words) in [
        ("binder/groups", "", 400, "not understood"),
        ("binder/groups", "{", 400, "not understood"),
        ("binder/groups", "[1,2]", 400, "not understood"),
        ("binder/groups", r#"{"binder":"other"}"#, 422, "main"),
        (
            "binder/read",
            r#"{"binder":"main","destination":"orders","partition":-1,"from":0,"max_bytes":1}"#,
            400,
            "not understood",
        ),
        ("binder/publish", "\u{1}\u{ff}garbage", 400, "cut off"),
        ("app/describe", "{}", 422, "no app"),
        ("app/redrive", r#"{"group":"billing"}"#, 422, "no app"),
    ] {
        let head = owner.head(&format!("POST /v1/{path}"));
        let (found, text) = owner
            .raw(format!("{head}content-length: {}\r\n\r\n{body}", body.len()))
            .await;
        assert_eq!(found, status, "{path} {body}\n{text}");
        assert!(text.contains(words), "{text}");
    }
    let depth = "[".repeat(100_000);
    let head = owner.head("POST /v1/binder/groups");
    let (found, _) = owner
        .raw(format!("{head}content-length: {}\r\n\r\n{depth}", depth.len()))
        .await;
    assert_eq!(found, 400);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused_however_its_length_is_said() {
    let owner = Owner::start(ServerOptions::default().request_bytes(8 << 10), None);
    let head = owner.head("POST /v1/binder/publish");
    let (status, text) = owner
        .raw(format!("{head}content-length: 99999999999\r\n\r\n"))
        .await;
    assert_eq!(status, 413, "{text}");
    assert!(text.contains("manage.request_bytes"), "{text}");
    let chunks = format!("1000\r\n{}\r\n", "x".repeat(4_096)).repeat(8);
    let (status, text) = owner
        .raw(format!("{head}transfer-encoding: chunked\r\n\r\n{chunks}"))
        .await;
    assert_eq!(status, 413, "{text}");
    let (status, _) = owner
        .raw(format!("{head}x: {}\r\n\r\n", "y".repeat(64 << 10)))
        .await;
    assert_eq!(status, 431, "the head is bounded too");
    let refused = owner.connect().await;
    let large = tidings_core::Outgoing::new("orders", Message::new(vec![0; 9 << 10]));
    let refused = refused.binder().sink().publish(large).await.unwrap_err();
    assert!(refused.is_permanent(), "{refused}");
}

#[tokio::test]
async fn who_sends_slowly_is_cut_and_holds_nobody_up() {
    let options = ServerOptions::default()
        .connections(2)
        .request_timeout(Duration::from_millis(600));
    let owner = Owner::start(options, None);
    has(&*owner.broker, "orders", 1).await;
    publish(&*owner.broker, "orders", 0, Message::new("x")).await;
    // One that never ends its head, one that never ends its body: all connections that there may be.
    let mut head = TcpStream::connect(owner.address()).await.unwrap();
    head.write_all(b"GET /v1/about HTTP/1.1\r\nx: ").await.unwrap();
    let mut body = TcpStream::connect(owner.address()).await.unwrap();
    let request = format!(
        "{}content-length: 100\r\n\r\n{{",
        owner.head("POST /v1/binder/groups")
    );
    body.write_all(request.as_bytes()).await.unwrap();
    let connection = owner.connect().await;
    assert_eq!(connection.binder().destinations().await.unwrap().len(), 1);
    let ((head, _), (body, text)) = tokio::join!(answer(&mut head), answer(&mut body));
    assert!(head == 408 || head == 0, "{head}");
    assert_eq!(body, 408, "{text}");
    assert!(text.contains("manage.request_timeout"), "{text}");
}

#[tokio::test]
async fn an_end_waits_for_no_stalled_connection_and_leaves_no_file() {
    let owner = Owner::plain();
    let mut stalled = TcpStream::connect(owner.address()).await.unwrap();
    stalled.write_all(b"GET /v1/about HTTP/1.1\r\nx: ").await.unwrap();
    let began = std::time::Instant::now();
    owner.server.close().await;
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(!owner.root.path().join("manage.json").exists());
    assert!(TcpStream::connect(owner.address()).await.is_err());
}
