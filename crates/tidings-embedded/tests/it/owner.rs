use crate::support::*;
use tidings_core::{Binder, BinderError, PublishError};
use tidings_embedded::{Access, EmbeddedBroker, Fsync};

#[tokio::test]
async fn a_directory_has_one_owner_and_a_second_is_told_whom() {
    let root = tempfile::tempdir().unwrap();
    let broker = disk(root.path(), Fsync::Os);
    let refused = EmbeddedBroker::open(options(root.path()))
        .unwrap_err()
        .to_string();
    for part in [std::process::id().to_string().as_str(), "LOCK", "read-only"] {
        assert!(refused.contains(part), "{refused}");
    }
    broker.close().await.unwrap();
    disk(root.path(), Fsync::Os).close().await.unwrap();
}

#[tokio::test]
async fn everything_is_there_after_closing_and_opening_and_after_dropping_and_opening() {
    let root = tempfile::tempdir().unwrap();
    for (round, fsync) in [Fsync::Os, Fsync::default(), Fsync::Always, Fsync::Os]
        .into_iter()
        .enumerate()
    {
        let broker = disk(root.path(), fsync);
        prepare(&broker, "orders", 3).await;
        assert_eq!(count(&broker, "orders").await, round as u64 * 30);
        for number in 0..30 {
            let position = publish(&broker, "orders", number % 3, number.to_string())
                .await
                .unwrap();
            assert_eq!(position.offset(), round as u64 * 10 + u64::from(number / 3));
        }
        if round % 2 == 0 {
            broker.close().await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_killed_process_with_every_policy() {
    for fsync in [Fsync::Os, Fsync::default(), Fsync::Always] {
        let root = tempfile::tempdir().unwrap();
        let (live, killed) = (root.path().join("live"), root.path().join("killed"));
        let broker = disk(&live, fsync);
        prepare(&broker, "orders", 1).await;
        for number in 0..50 {
            publish(&broker, "orders", 0, number.to_string()).await.unwrap();
        }
        copy(&live, &killed);
        let broker = disk(&killed, fsync);
        let mut source = broker.subscribe(spec(None, "orders")).await.unwrap();
        assert_eq!(
            drain(&mut source).await,
            (0..50).map(|number| number.to_string()).collect::<Vec<_>>()
        );
    }
}

#[tokio::test]
async fn a_reader_works_beside_the_owner_and_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    assert!(matches!(
        EmbeddedBroker::open(options(root.path()).access(Access::ReadOnly)),
        Err(BinderError::Open { .. })
    ));
    let owner = disk(root.path(), Fsync::Os);
    prepare(&owner, "orders", 2).await;
    publish(&owner, "orders", 0, "before").await.unwrap();
    let reader = EmbeddedBroker::open(options(root.path()).access(Access::ReadOnly)).unwrap();
    let mut source = reader.subscribe(spec(None, "orders")).await.unwrap();
    assert_eq!(drain(&mut source).await, ["before"]);
    publish(&owner, "orders", 1, "after").await.unwrap();
    assert_eq!(texts(&batch(&mut source).await), ["after"]);
    assert_eq!(texts(&reader.read("orders", 1, 0, 1).await.unwrap()), ["after"]);
    prepare(&owner, "later", 1).await;
    publish(&owner, "later", 0, "new").await.unwrap();
    assert_eq!(count(&reader, "later").await, 1);
    assert_eq!(
        reader.destinations().await.unwrap(),
        owner.destinations().await.unwrap()
    );

    assert!(matches!(
        publish(&reader, "orders", 0, "x").await,
        Err(PublishError::Unsupported { .. })
    ));
    assert!(matches!(
        reader.subscribe(spec(Some("billing"), "orders")).await,
        Err(BinderError::Unsupported { .. })
    ));
    assert!(matches!(
        reader.prepare(destination("other", 1)).await,
        Err(BinderError::UnknownDestination { .. })
    ));
    drop(source);
    reader.close().await.unwrap();
    publish(&owner, "orders", 0, "the owner goes on").await.unwrap();
    owner.close().await.unwrap();
}

#[tokio::test]
async fn a_directory_of_a_newer_version_is_refused_by_both_versions() {
    let root = tempfile::tempdir().unwrap();
    disk(root.path(), Fsync::Os).close().await.unwrap();
    std::fs::write(root.path().join("format"), "tidings-directory 2\n").unwrap();
    for access in [Access::ReadWrite, Access::ReadOnly] {
        let refused = EmbeddedBroker::open(options(root.path()).access(access))
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("version 2") && refused.contains("version 1"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_second_owner_is_refused_also_when_somebody_removed_the_lock_file() {
    let root = tempfile::tempdir().unwrap();
    let broker = disk(root.path(), Fsync::Os);
    std::fs::remove_file(root.path().join("LOCK")).unwrap();
    let refused = EmbeddedBroker::open(options(root.path()))
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("state.redb") && refused.contains("another process has it open"),
        "{refused}"
    );
    prepare(&broker, "orders", 1).await;
    publish(&broker, "orders", 0, "the first goes on").await.unwrap();
}

#[tokio::test]
async fn whatever_a_lock_file_holds_it_does_not_keep_the_next_owner_away() {
    let root = tempfile::tempdir().unwrap();
    for content in [&b""[..], b"4711\n", &[0xff; 5_000]] {
        std::fs::write(root.path().join("LOCK"), content).unwrap();
        disk(root.path(), Fsync::Os).close().await.unwrap();
    }
}

#[test]
fn without_a_runtime_it_says_so() {
    let refused =
        EmbeddedBroker::open(tidings_embedded::EmbeddedOptions::from_url("memory:").unwrap()).unwrap_err();
    assert!(refused.to_string().contains("runtime"), "{refused}");
}
