//! The shop over HTTP.

use crate::process::{Process, json, until, until_open};
use crate::tally::messages;
use shop::load::Client;
use tempfile::tempdir;

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const FORM: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded")];

fn body(customer: &str, items: &str) -> String {
    format!(r#"{{"customer":"{customer}","items":{items},"card":"4242424242424242"}}"#)
}

const TEA: &str = r#"[{"sku":"tea","quantity":2}]"#;

#[tokio::test]
async fn an_order_is_accepted_and_its_story_is_told_to_programs_and_people() {
    let data = tempdir().unwrap();
    let shop = Process::start(data.path());
    let mut client = shop.client();
    until_open(&mut client).await;
    let name = "<script>alert(1)</script>";
    let answer = client.post("/orders", JSON, body(name, TEA)).await.unwrap();
    assert_eq!(answer.status, 202);
    let path = answer.location.clone().unwrap();
    assert_eq!(json(&answer)["links"]["self"], path.as_str());
    // Whoever was told "accepted" finds the order at once.
    assert_eq!(client.get(&path).await.unwrap().status, 200);

    let told = until(&mut client, &path, |answer| json(answer)["ended"] == true).await;
    let told = json(&told);
    assert_eq!(
        (&told["customer"], &told["total"]),
        (&name.into(), &"25.00".into())
    );
    let letters = told["dead_letters"].as_array().unwrap();
    assert_eq!(letters[0]["service"], "shipping", "no label has a glyph for '<'");

    let page = client.get("/").await.unwrap();
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !page.contains("<script>alert"));
    assert_eq!(json(&client.get("/health").await.unwrap())["ready"], true);
    assert!(shop.terminate().success());
}

#[tokio::test]
async fn what_is_wrong_gets_a_problem_and_publishes_nothing() {
    let data = tempdir().unwrap();
    let shop = Process::start(data.path());
    let mut client = shop.client();
    until_open(&mut client).await;
    let many = format!("[{}]", vec![r#"{"sku":"tea","quantity":1}"#; 101].join(","));
    let huge = format!("{{\"customer\":\"{}\"", "x".repeat(2 * 1024 * 1024));
    let wrong = [
        (JSON, "{".to_owned(), 400),
        (JSON, String::new(), 400),
        (&[], body("ada", TEA), 415),
        (FORM, body("ada", TEA), 415),
        (JSON, "[]".to_owned(), 422),
        (JSON, body("", TEA), 422),
        (JSON, body(&"x".repeat(81), TEA), 422),
        (JSON, body("ada", "[]"), 422),
        (JSON, body("ada", &many), 422),
        (JSON, body("ada", r#"[{"sku":"tea","quantity":-2}]"#), 422),
        (JSON, body("ada", r#"[{"sku":"tea","quantity":0}]"#), 422),
        (
            JSON,
            body("ada", r#"[{"sku":"tea","quantity":99999999999}]"#),
            422,
        ),
        (JSON, body("ada", r#"[{"sku":"gold","quantity":1}]"#), 422),
        (JSON, body("ada", TEA).replace("4242\"", "4243\""), 422),
        (JSON, huge, 413),
    ];
    for (headers, sent, status) in wrong {
        let answer = client.post("/orders", headers, sent.clone()).await.unwrap();
        let short: String = sent.chars().take(80).collect();
        assert_eq!(answer.status, status, "{short}");
        let problem = json(&answer);
        assert_eq!(problem["status"], status, "{short}");
        assert!(problem["title"].is_string() && problem["detail"].is_string() && problem["type"].is_string());
    }
    for (path, status) in [
        ("/nothing", 404),
        ("/orders/7H2K-9QX4-M1TB-0ZZ3", 404),
        ("/orders/x", 404),
        ("/orders?limit=x", 400),
    ] {
        let answer = client.get(path).await.unwrap();
        assert_eq!(
            (answer.status, &json(&answer)["status"]),
            (status, &status.into()),
            "{path}"
        );
    }
    assert_eq!(client.post("/mails", &[], "").await.unwrap().status, 405);
    assert!(shop.terminate().success());
    assert_eq!(messages(data.path(), "orders").await.len(), 0);
}

#[tokio::test]
async fn a_request_that_is_sent_again_does_not_order_again() {
    let data = tempdir().unwrap();
    let shop = Process::start(data.path());
    let mut client = shop.client();
    until_open(&mut client).await;
    // At the same time, one after the other, and after a restart.
    let at_once = (0..8).map(|_| {
        let mut client = shop.client();
        tokio::spawn(async move {
            client
                .post_json("/orders", "k-1", body("ada", TEA))
                .await
                .unwrap()
        })
    });
    let mut answers = Vec::new();
    for sent in at_once.collect::<Vec<_>>() {
        answers.push(sent.await.unwrap());
    }
    assert!(shop.terminate().success());
    let shop = Process::start(data.path());
    let mut client = shop.client();
    until_open(&mut client).await;
    answers.push(
        client
            .post_json("/orders", "\"k-1\"", body("ada", TEA))
            .await
            .unwrap(),
    );
    let first = &answers[0];
    assert_eq!(first.status, 202);
    for answer in &answers {
        assert_eq!(
            (answer.status, &answer.location, &answer.body),
            (first.status, &first.location, &first.body)
        );
    }
    for other in [body("ada", r#"[{"sku":"tea","quantity":3}]"#), body("grace", TEA)] {
        let answer = client.post_json("/orders", "k-1", other).await.unwrap();
        assert_eq!(
            (answer.status, &json(&answer)["type"]),
            (422, &"urn:problem:key-reused".into())
        );
    }
    // A request that was refused has used nothing up.
    assert_eq!(client.post_json("/orders", "k-2", "{").await.unwrap().status, 400);
    let answer = client
        .post_json("/orders", "k-2", body("ada", TEA))
        .await
        .unwrap();
    assert_eq!((answer.status, answer.location == first.location), (202, false));
    until(&mut client, &answer.location.unwrap(), |answer| {
        json(answer)["ended"] == true
    })
    .await;
    assert!(shop.terminate().success());
    assert_eq!(messages(data.path(), "orders").await.len(), 2);
}

#[tokio::test]
async fn the_bank_goes_away_and_the_page_sends_the_dead_letters_back() {
    let data = tempdir().unwrap();
    let shop = Process::start(data.path());
    let mut client = shop.client();
    until_open(&mut client).await;
    assert_eq!(client.post("/bank/down", &[], "").await.unwrap().status, 200);
    let answer = client
        .post(
            "/place",
            FORM,
            "customer=ada&sku=tea&quantity=1&card=4242+4242+4242+4242",
        )
        .await
        .unwrap();
    let path = json(&answer)["place"].as_str().unwrap().to_owned();
    until(&mut client, &path, |answer| {
        json(answer)["status"] == "dead-lettered"
    })
    .await;
    let page = client.get("/").await.unwrap();
    assert!(String::from_utf8_lossy(&page.body).contains("the bank does not answer"));

    let stranger = &[FORM[0], ("sec-fetch-site", "cross-site")];
    assert_eq!(
        client
            .post("/dead-letters/redrive", stranger, "")
            .await
            .unwrap()
            .status,
        403
    );
    client.post("/bank/up", &[], "").await.unwrap();
    let answer = client.post("/dead-letters/redrive", FORM, "").await.unwrap();
    assert_eq!(json(&answer)["said"], "One dead letter was sent back.");
    until(&mut client, &path, |answer| json(answer)["status"] == "completed").await;
    assert!(shop.terminate().success());
}

#[tokio::test]
async fn the_page_is_kept_up_to_date_until_the_shop_closes() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let data = tempdir().unwrap();
    let shop = Process::start(data.path());
    let mut client = shop.client();
    until_open(&mut client).await;
    let authority = shop.url.strip_prefix("http://").unwrap();
    let mut live = tokio::net::TcpStream::connect(authority).await.unwrap();
    live.write_all(format!("GET /live HTTP/1.1\r\nhost: {authority}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut seen = String::new();
    read_until(&mut live, &mut seen, "\"pipeline\"").await;
    client.post("/orders", JSON, body("Zaphod", TEA)).await.unwrap();
    read_until(&mut live, &mut seen, "Zaphod").await;
    read_until(&mut live, &mut seen, "completed</span>").await;
    assert!(
        shop.terminate().success(),
        "somebody who looks does not keep the shop open"
    );
    let mut rest = Vec::new();
    live.read_to_end(&mut rest).await.unwrap();
}

async fn read_until(stream: &mut tokio::net::TcpStream, seen: &mut String, wanted: &str) {
    use tokio::io::AsyncReadExt;
    let reading = async {
        let mut buffer = [0; 16 * 1024];
        while !seen.contains(wanted) {
            let count = stream.read(&mut buffer).await.unwrap();
            assert!(count > 0, "the stream ended before {wanted:?}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), reading)
        .await
        .unwrap_or_else(|_| panic!("no {wanted:?}"));
}

#[tokio::test]
async fn a_shop_that_is_opened_again_tells_the_same_stories() {
    let data = tempdir().unwrap();
    let first = Process::start(data.path());
    let mut client = first.client();
    until_open(&mut client).await;
    let path = client
        .post("/orders", JSON, body("ada", TEA))
        .await
        .unwrap()
        .location
        .unwrap();
    let told = until(&mut client, &path, |answer| {
        answer.body.windows(9).any(|word| word == b"mail.sent")
    })
    .await;
    assert!(first.terminate().success());

    let second = Process::start(data.path());
    let mut client: Client = second.client();
    // Until everything is read again the shop says so, and never that the order is unknown.
    let again = until(&mut client, &path, |answer| {
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
        answer.status == 200
    });
    let (again, told) = (json(&again.await), json(&told));
    let events = |told: &serde_json::Value| {
        told["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["event"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (&again["status"], events(&again)),
        (&"completed".into(), events(&told))
    );
    until(&mut client, "/analytics", |answer| json(answer)["orders"] == 1).await;
    assert!(second.terminate().success());
}
