//! The ways to a broker: asked if somebody has it, opened if nobody has.

use crate::support::{Owner, files, has, messages, open, publish, url};
use std::path::Path;
use tidings_core::{DestinationSpec, Message, Outgoing, Progress};
use tidings_manage::{Connection, FILE_NAME, Intent, ManagedBinder, Server, ServerOptions, Way, connect};

async fn filled(root: &Path) {
    let broker = open(root);
    has(&*broker, "orders", 1).await;
    publish(&*broker, "orders", 0, Message::new("tea")).await;
    let progress = Progress {
        watermark: 1,
        ..Progress::default()
    };
    broker
        .store_progress("orders", 0, "billing", progress)
        .await
        .unwrap();
    broker.close().await.unwrap();
}

async fn watermark(connection: &Connection) -> Option<u64> {
    let positions = connection
        .binder()
        .positions("orders", Some("billing"))
        .await
        .unwrap();
    positions[0].progress.as_ref().map(|progress| progress.watermark)
}

#[tokio::test]
async fn a_free_directory_is_read_without_changing_anything_in_it() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path()).await;
    let before = files(root.path());
    let connection = connect(&url(root.path()), Intent::Read).await.unwrap();
    assert_eq!(connection.way(), &Way::OpenedForReading);
    assert_eq!(messages(&**connection.binder(), "orders", 0).await.len(), 1);
    assert_eq!(watermark(&connection).await, Some(1), "positions are seen too");
    assert_eq!(&*connection.binder().groups().await.unwrap()[0].name, "billing");
    let refused = connection
        .binder()
        .sink()
        .publish(Outgoing::new("orders", Message::new("x")))
        .await;
    assert!(refused.is_err());
    connection.close().await.unwrap();
    assert!(files(root.path()) == before, "a file was changed");
}

#[tokio::test]
async fn a_free_directory_is_opened_for_changes_and_free_again_afterwards() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path()).await;
    for _ in 0..2 {
        let connection = connect(&root.path().display().to_string(), Intent::Change)
            .await
            .unwrap();
        assert_eq!(connection.way(), &Way::Opened);
        publish(&**connection.binder(), "orders", 0, Message::new("cake")).await;
        connection.close().await.unwrap();
    }
    let connection = connect(&url(root.path()), Intent::Read).await.unwrap();
    assert_eq!(messages(&**connection.binder(), "orders", 0).await.len(), 3);
}

#[tokio::test]
async fn what_a_killed_owner_left_is_not_asked() {
    let root = tempfile::tempdir().unwrap();
    // As a killed process leaves it: the files as they were at that moment, the lock free.
    let owner = Owner::plain();
    has(&*owner.broker, "orders", 1).await;
    publish(&*owner.broker, "orders", 0, Message::new("tea")).await;
    let progress = Progress {
        watermark: 1,
        ..Progress::default()
    };
    owner
        .broker
        .store_progress("orders", 0, "billing", progress)
        .await
        .unwrap();
    for (path, contents) in files(owner.root.path()) {
        let to = root.path().join(path.strip_prefix(owner.root.path()).unwrap());
        match path.is_dir() {
            true => std::fs::create_dir_all(to).unwrap(),
            false => std::fs::write(to, contents).unwrap(),
        }
    }
    assert!(root.path().join(FILE_NAME).exists());
    let before = files(root.path());
    let connection = connect(&url(root.path()), Intent::Read).await.unwrap();
    assert_eq!(connection.way(), &Way::OpenedForReading);
    assert_eq!(
        watermark(&connection).await,
        Some(1),
        "from a state that was never closed"
    );
    drop(connection);
    assert!(files(root.path()) == before, "a file was changed");

    let connection = connect(&url(root.path()), Intent::Change).await.unwrap();
    assert_eq!(connection.way(), &Way::Opened);
    // The file of the killed process is not believed beside its successor that has no address: neither when another
    // process answers there by now, nor when nobody does.
    let path = root.path().join(FILE_NAME);
    let left = std::fs::read_to_string(&path).unwrap();
    let pid = std::process::id();
    let other = left.replace(&format!("\"pid\": {pid}"), &format!("\"pid\": {}", pid + 1));
    assert_ne!(left, other);
    std::fs::write(&path, other).unwrap();
    assert!(reason(root.path()).await.contains("was left by the process"));
    std::fs::write(&path, left).unwrap();
    owner.server.close().await;
    assert!(reason(root.path()).await.contains("cannot be asked"));
    connection.close().await.unwrap();
}

/// Why the owner of a directory is not asked.
async fn reason(root: &Path) -> String {
    let read = connect(&url(root), Intent::Read).await.unwrap();
    match read.way() {
        Way::BesideOwner { reason } => reason.clone(),
        way => panic!("{way:?}"),
    }
}

#[tokio::test]
async fn an_owner_that_cannot_be_asked_can_be_read_beside_and_not_changed() {
    let root = tempfile::tempdir().unwrap();
    let owner = open(root.path());
    has(&*owner, "orders", 1).await;
    publish(&*owner, "orders", 0, Message::new("tea")).await;
    let connection = connect(&url(root.path()), Intent::Read).await.unwrap();
    assert!(matches!(connection.way(), Way::BesideOwner { reason } if reason.contains(FILE_NAME)));
    assert_eq!(messages(&**connection.binder(), "orders", 0).await.len(), 1);
    let unknown = connection.binder().groups().await.unwrap_err().to_string();
    assert!(unknown.contains("ask the process"), "{unknown}");
    assert!(
        connection
            .binder()
            .positions("orders", Some("billing"))
            .await
            .is_err()
    );
    let refused = connect(&url(root.path()), Intent::Change)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("manage.enabled = true") && refused.contains(&std::process::id().to_string()),
        "{refused}"
    );
}

#[tokio::test]
async fn an_owner_that_is_just_starting_is_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let broker = open(root.path());
    let path = root.path().to_owned();
    let connecting = tokio::spawn(async move { connect(&url(&path), Intent::Change).await });
    tokio::time::sleep(std::time::Duration::from_millis(120)).await;
    let binder = ManagedBinder::new("main", broker).directory(root.path());
    let _server = Server::start(ServerOptions::default(), "shop", vec![binder], None).unwrap();
    let connection = connecting.await.unwrap().unwrap();
    assert!(
        matches!(connection.way(), Way::Running { .. }),
        "{:?}",
        connection.way()
    );
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_made_only_for_changes() {
    let root = tempfile::tempdir().unwrap();
    let missing = root.path().join("data");
    let refused = connect(&url(&missing), Intent::Read)
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("holds no broker"), "{refused}");
    assert!(!missing.exists());
    let connection = connect(&url(&missing), Intent::Change).await.unwrap();
    let spec = DestinationSpec::new("orders", 1);
    connection.binder().prepare(spec).await.unwrap();
    connection.close().await.unwrap();
    assert!(missing.exists());
}

#[tokio::test]
async fn other_addresses_are_refused_with_the_cure() {
    for (target, words) in [
        ("memory:", "embedded:DIRECTORY"),
        ("kafka://h:1", "embedded:DIRECTORY"),
        ("embedded:", "embedded:./data"),
        ("embedded://data", "no host"),
    ] {
        let refused = connect(target, Intent::Read).await.unwrap_err().to_string();
        assert!(refused.contains(words), "{target}: {refused}");
    }
}

#[tokio::test]
async fn the_file_is_for_its_user_alone_and_goes_with_the_server() {
    let owner = Owner::plain();
    let path = owner.root.path().join(FILE_NAME);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    assert!(owner.address().ip().is_loopback());
    assert_eq!(owner.address().ip().to_string(), "127.0.0.1");
    drop(owner.server);
    assert!(!path.exists());
}
