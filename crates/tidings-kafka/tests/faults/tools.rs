//! kcat and Kafka's own programs read what we write, and we read what they write.

use crate::own::{blocking, own, topic};
use crate::shapes::Reader;
use brokers::{Kafka, Options, Tool};
use std::sync::Arc;
use tidings_core::{Binder, Message, Outgoing, Source, Timestamp};

const TIME: i64 = 1_700_000_000_123;

async fn tool(kafka: &Arc<Kafka>, tool: Tool, arguments: &[&str], stdin: &str) -> String {
    let (kafka, stdin) = (kafka.clone(), stdin.to_owned());
    let arguments: Vec<String> = arguments.iter().map(|one| (*one).to_owned()).collect();
    blocking(move || kafka.tool(tool).args(arguments).stdin(stdin).run().unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kcat_and_kafkas_own_programs_read_what_we_write_and_we_read_what_they_write() {
    let test = "kcat_and_kafkas_own_programs_read_what_we_write_and_we_read_what_they_write";
    let Some(own) = own(test, Options::plain()).await else {
        return;
    };
    let kafka = own.binder(&[]);
    let orders = topic(&kafka, "orders", 1).await;
    let full = Message::new("payload")
        .with_key("key")
        .with_timestamp(Timestamp::from_millis(TIME))
        .with_header("tenant", "blue")
        .and_then(|message| message.with_header("empty", ""))
        .unwrap();
    let sink = kafka.sink();
    for message in [full, Message::tombstone("gone"), Message::new("")] {
        sink.publish(Outgoing::new(orders.clone(), message))
            .await
            .unwrap();
    }
    they_read(&own.kafka, &orders).await;
    they_write(&own.kafka, &orders).await;
    we_read(&kafka, &orders).await;
    let _ = kafka.close().await;
}

async fn they_read(kafka: &Arc<Kafka>, orders: &str) {
    // Key and payload with their lengths (-1 is null), the time, and the headers.
    let format = "%o|%K|%k|%S|%s|%T|%h\n";
    let read = tool(
        kafka,
        Tool::Kcat,
        &["-C", "-t", orders, "-o", "beginning", "-e", "-q", "-f", format],
        "",
    )
    .await;
    let lines: Vec<_> = read.lines().collect();
    assert_eq!(lines.len(), 3, "{read}");
    assert_eq!(lines[0], format!("0|3|key|7|payload|{TIME}|tenant=blue,empty="));
    assert!(lines[1].starts_with("1|4|gone|-1|"), "{}", lines[1]);
    assert!(lines[2].starts_with("2|-1||0||"), "{}", lines[2]);
    let print = ["timestamp", "key", "headers", "offset"].map(|what| format!("print.{what}=true"));
    let mut arguments = vec!["--topic", orders, "--from-beginning", "--max-messages", "3"];
    for property in &print {
        arguments.extend(["--property", property]);
    }
    let read = tool(kafka, Tool::Consumer, &arguments, "").await;
    let lines: Vec<_> = read.lines().collect();
    assert_eq!(lines.len(), 3, "{read}");
    assert_eq!(
        lines[0],
        format!("CreateTime:{TIME}\tOffset:0\ttenant:blue,empty:\tkey\tpayload")
    );
    assert!(lines[1].ends_with("\tgone\tnull"), "{}", lines[1]);
    assert!(lines[2].ends_with("\tnull\t"), "{}", lines[2]);
}

async fn they_write(kafka: &Arc<Kafka>, orders: &str) {
    let kcat = ["-P", "-t", orders, "-K", ":", "-H", "tenant=green"];
    tool(kafka, Tool::Kcat, &kcat, "kcat:by kcat\n").await;
    // -Z makes an empty payload a null.
    tool(
        kafka,
        Tool::Kcat,
        &["-P", "-t", orders, "-K", ":", "-Z"],
        "dropped:\n",
    )
    .await;
    let properties = [
        "parse.key=true",
        "key.separator=:",
        "parse.headers=true",
        "headers.delimiter=|",
        "null.marker=NULL",
    ];
    let mut console = vec!["--topic", orders];
    for property in properties {
        console.extend(["--property", property]);
    }
    tool(
        kafka,
        Tool::Producer,
        &console,
        "tenant:red|console:by console\na:1|nothing:NULL\n",
    )
    .await;
}

async fn we_read(kafka: &tidings_kafka::KafkaBinder, orders: &Arc<str>) {
    let mut reader = Reader::join(kafka, Reader::spec(Some(&brokers::unique("billing")), orders)).await;
    let read = reader.take(7).await;
    let seen: Vec<_> = read
        .iter()
        .map(|(offset, message)| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let tenant = message.headers().get("tenant").map(text);
            (
                *offset,
                message.key().map(|key| text(key)),
                message.payload().map(|payload| text(payload)),
                tenant,
            )
        })
        .collect();
    let some = |text: &str| Some(text.to_owned());
    let expected = [
        (0, some("key"), some("payload"), some("blue")),
        (1, some("gone"), None, None),
        (2, None, some(""), None),
        (3, some("kcat"), some("by kcat"), some("green")),
        (4, some("dropped"), None, None),
        (5, some("console"), some("by console"), some("red")),
        (6, some("nothing"), None, None),
    ];
    assert_eq!(seen, expected);
    assert_eq!(read[0].1.timestamp(), Some(Timestamp::from_millis(TIME)));
    assert!(
        read[5].1.timestamp().is_some_and(|time| time.as_millis() > TIME),
        "the time of its writing"
    );
    reader.source.close().await.unwrap();
}
