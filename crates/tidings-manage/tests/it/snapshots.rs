//! A running service is copied by whoever may ask it, and says how far that is.

use crate::support::{Owner, has, messages, open, publish, url};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tidings_core::{BinderError, Message};
use tidings_embedded::{EmbeddedBroker, EmbeddedOptions, Location, verify_directory};
use tidings_manage::{
    Intent, ManageError, ManagedBinder, SealedSegments, Server, ServerOptions, SnapshotBytes,
    SnapshotRequest, Way, connect,
};

fn to(target: impl Into<PathBuf>) -> SnapshotRequest {
    SnapshotRequest {
        target: target.into(),
        sealed: SealedSegments::Linked,
    }
}

#[tokio::test]
async fn a_service_that_runs_copies_itself_and_tells_how_far_it_is() {
    let root = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions::new(Location::Directory(root.path().to_owned()));
    let broker = Arc::new(EmbeddedBroker::open(options).unwrap());
    let managed = ManagedBinder::new("main", broker.clone()).directory(root.path());
    let managed = managed.snapshots(broker.clone());
    let server = Server::start(ServerOptions::default(), "shop", vec![managed], None).unwrap();
    has(&*broker, "orders", 1).await;
    publish(&*broker, "orders", 0, Message::new("tea")).await;

    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("copy");
    let connection = connect(&url(root.path()), Intent::Change).await.unwrap();
    assert!(matches!(connection.way(), Way::Running { .. }));
    let told = Arc::new(Mutex::new(Vec::new()));
    let watch = {
        let told = told.clone();
        Box::new(move |far: SnapshotBytes| told.lock().unwrap().push(far))
    };
    let counts = connection.snapshot(to(&target), watch).await.unwrap();
    assert_eq!((counts.destinations, counts.partitions), (1, 1));
    let told = told.lock().unwrap().clone();
    assert!(told.iter().all(|far| far.done <= far.total), "{told:?}");
    assert_eq!(told.last().map(|far| far.done), Some(counts.bytes), "{told:?}");

    // Nothing that says how to ask the owner is in the copy.
    assert!(!target.join(tidings_manage::FILE_NAME).exists());
    assert!(verify_directory(&target, &mut |_| {}).unwrap().is_sound());
    let copy = open(&target);
    let found = messages(&*copy, "orders", 0).await;
    assert_eq!(
        found[0].1.payload().map(|payload| &payload[..]),
        Some(b"tea".as_slice())
    );
    copy.close().await.unwrap();

    let again = connection
        .snapshot(to(&target), Box::new(|_| {}))
        .await
        .unwrap_err();
    assert!(again.to_string().contains("is not empty"), "{again}");
    let relative = connection
        .snapshot(to("copy"), Box::new(|_| {}))
        .await
        .unwrap_err();
    assert!(relative.to_string().contains("is no absolute path"), "{relative}");
    server.close().await;
}

#[tokio::test]
async fn a_binder_that_cannot_be_copied_says_so() {
    let owner = Owner::plain();
    let connection = owner.connect().await;
    let target = tempfile::tempdir().unwrap();
    let refused = connection
        .snapshot(to(target.path()), Box::new(|_| {}))
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("main (embedded) cannot be copied"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_directory_that_was_opened_here_is_copied_here_and_for_reading_not_at_all() {
    let root = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let connection = connect(&url(root.path()), Intent::Change).await.unwrap();
    has(&**connection.binder(), "orders", 2).await;
    let target = elsewhere.path().join("copy");
    let counts = connection.snapshot(to(&target), Box::new(|_| {})).await.unwrap();
    assert_eq!(counts.partitions, 2);
    connection.close().await.unwrap();
    let reading = connect(&url(root.path()), Intent::Read).await.unwrap();
    let refused = reading
        .snapshot(to(elsewhere.path().join("other")), Box::new(|_| {}))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, ManageError::Broker(BinderError::Unsupported { .. })),
        "{refused}"
    );
}
