//! Real file systems that are full or read-only: a child process mounts a small one in a namespace of its own, which
//! needs no privileges and leaves nothing behind. Where that is refused, the tests skip themselves by name.

use crate::support::*;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tidings_core::{Binder, BinderHealth, Outgoing, Source, Timestamp};
use tidings_embedded::{Access, EmbeddedBroker, Fsync};

/// Tells the child which part it plays.
const PART: &str = "TIDINGS_REAL_DISK_PART";
/// Where its file system is.
const PLACE: &str = "TIDINGS_REAL_DISK_PLACE";

/// Plays a part in a child, on a file system of that many KiB. Does nothing where namespaces are refused.
fn play(part: &str, kib: u32) {
    let place = tempfile::tempdir().unwrap();
    let script = format!("mount -t tmpfs -o size={kib}k tmpfs \"$1\" || exit 77; shift; exec \"$@\"");
    let child = Command::new("unshare")
        .args(["-r", "-m", "sh", "-c", &script, "sh"])
        .arg(place.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "real_disk::child", "--nocapture"])
        .env(PART, part)
        .env(PLACE, place.path())
        .output();
    let output = match child {
        Ok(output) => output,
        Err(error) => return println!("SKIPPED {part}: `unshare` does not run here: {error}"),
    };
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    if said.contains("unshare:") || output.status.code() == Some(77) {
        return println!(
            "SKIPPED {part}: a file system of its own is refused here: {}",
            said.trim()
        );
    }
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the part was played"), "{said}");
}

#[test]
fn a_real_full_disk_refuses_and_goes_on_without_a_restart_when_there_is_room() {
    play("full", 3_000);
}

#[test]
fn a_broker_that_was_killed_on_a_full_disk_opens_and_has_everything() {
    play("killed", 3_000);
}

#[test]
fn a_read_only_file_system_is_refused_with_the_cure_and_can_be_read() {
    play("read-only", 8_000);
}

/// What the child runs; nothing by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let (Ok(part), Ok(place)) = (std::env::var(PART), std::env::var(PLACE)) else {
        return;
    };
    let place = PathBuf::from(place);
    match part.as_str() {
        "full" => full(&place).await,
        "killed" => killed(&place).await,
        "read-only" => read_only(&place).await,
        other => panic!("no part {other}"),
    }
    println!("the part was played");
}

fn open(root: &Path) -> EmbeddedBroker {
    EmbeddedBroker::open(options(root).fsync(Fsync::default()).segment_bytes(100_000)).unwrap()
}

/// Takes all room but a little, so that the state finds none as well.
fn balloon(place: &Path, leaves: usize) {
    let file = place.join("balloon");
    let mut size = 0;
    let mut content = Vec::new();
    while std::fs::write(&file, &content).is_ok() {
        size += 16 << 10;
        content.resize(size, 1);
    }
    std::fs::write(&file, vec![1; size.saturating_sub(leaves + (16 << 10))]).unwrap();
}

fn deflate(place: &Path) {
    std::fs::remove_file(place.join("balloon")).unwrap();
}

fn later(broker: &EmbeddedBroker, payload: String) -> tidings_core::Receipt {
    let mut outgoing: Outgoing = to("orders", 0, payload);
    outgoing.due = Some(Timestamp::now().plus(Duration::from_secs(86_400)));
    broker.sink().publish(outgoing)
}

/// Publishes until it is refused, now and for later. What was acknowledged.
async fn publish_until_full(broker: &EmbeddedBroker, round: &str) -> Vec<String> {
    let mut kept = Vec::new();
    loop {
        let payload = format!("{round} {}:{}", kept.len(), "x".repeat(2_000));
        match publish(broker, "orders", 0, payload.clone()).await {
            Ok(_) => kept.push(payload),
            Err(error) => {
                assert!(error.to_string().contains("make room"), "{error}");
                break;
            }
        }
        assert!(kept.len() < 5_000, "the disk is never full");
    }
    for number in 0.. {
        let stored = later(broker, format!("{round} {number}:{}", "y".repeat(2_000))).await;
        if let Err(error) = stored {
            assert!(error.to_string().contains("make room"), "{error}");
            return kept;
        }
        assert!(number < 5_000, "the disk is never full");
    }
    kept
}

async fn all(broker: &EmbeddedBroker) -> Vec<String> {
    let mut source = broker.subscribe(spec(None, "orders")).await.unwrap();
    drain(&mut source).await
}

async fn full(place: &Path) {
    let root = place.join("data");
    let broker = open(&root);
    prepare(&broker, "orders", 1).await;
    publish(&broker, "orders", 0, "first").await.unwrap();
    let mut source = join(&broker, "billing", "orders").await;
    let lane = assigned(&mut source).await.remove(0);
    balloon(place, 300_000);
    let mut kept = vec!["first".to_owned()];
    kept.extend(publish_until_full(&broker, "one").await);
    // Nothing is left for anybody.
    let rest = place.join("rest");
    let mut size = 64 << 10;
    while size > 0 {
        let more = std::fs::OpenOptions::new().append(true).create(true).open(&rest);
        let written = more.and_then(|mut file| std::io::Write::write_all(&mut file, &vec![1; size]));
        if written.is_err() {
            size /= 2;
        }
    }
    let finished = kept.len() as u64;
    done(&mut source, lane.lane, lane.epoch, finished);
    drop(source.commit().await);
    assert!(matches!(broker.health(), BinderHealth::Down(_)));
    std::fs::remove_file(rest).unwrap();
    deflate(place);

    publish(&broker, "orders", 0, "after").await.unwrap();
    kept.push("after".to_owned());
    later(&broker, "later".to_owned()).await.unwrap();
    source.commit().await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), async {
        while broker.health() != BinderHealth::Up {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{:?}", broker.health()));
    assert_eq!(stored(&broker, "orders", "billing").await, [Some(finished)]);
    assert_eq!(all(&broker).await, kept);
    drop(source);
    broker.close().await.unwrap();
    let broker = open(&root);
    assert_eq!(all(&broker).await, kept);
    assert_eq!(stored(&broker, "orders", "billing").await, [Some(finished)]);
}

/// As `copy`, and what takes no room takes none in the copy.
fn copy_sparse(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .args(["-r", "--sparse=always"])
        .args([from, to])
        .status();
    assert!(copied.unwrap().success());
}

/// Waits until this process has closed all files there: one that is removed and still open keeps its room.
async fn let_go(place: &Path) {
    let held = || {
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        let mut open = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        open.any(|file| file.starts_with(place))
            || std::fs::read_to_string("/proc/self/maps")
                .unwrap()
                .contains(place.to_str().unwrap())
    };
    tokio::time::timeout(Duration::from_secs(60), async {
        while held() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
}

async fn killed(place: &Path) {
    let (live, left) = (place.join("data"), tempfile::tempdir().unwrap());
    let broker = open(&live);
    prepare(&broker, "orders", 1).await;
    balloon(place, 300_000);
    let kept = publish_until_full(&broker, "one").await;
    // The files as a killed process leaves them, brought back onto the full file system.
    let left = left.path().join("data");
    copy_sparse(&live, &left);
    drop(broker);
    let_go(&live).await;
    std::fs::remove_dir_all(&live).unwrap();
    copy_sparse(&left, &live);
    let rest = place.join("rest");
    drop(std::fs::write(&rest, vec![1; 1 << 20]));
    let opened = EmbeddedBroker::open(options(&live).segment_bytes(100_000));
    match opened {
        Ok(broker) => assert_eq!(all(&broker).await, kept),
        Err(error) => {
            let told = error.to_string();
            assert!(
                told.contains("state.redb") && told.contains("make room"),
                "{told}"
            );
            std::fs::remove_file(&rest).unwrap();
            deflate(place);
            assert_eq!(all(&open(&live)).await, kept);
        }
    }
}

async fn read_only(place: &Path) {
    let root = place.join("data");
    let broker = open(&root);
    prepare(&broker, "orders", 1).await;
    publish(&broker, "orders", 0, "tea").await.unwrap();
    broker.close().await.unwrap();
    drop(broker);
    let remounted = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(place)
        .status();
    assert!(remounted.unwrap().success());
    let refused = EmbeddedBroker::open(options(&root)).unwrap_err().to_string();
    assert!(
        refused.contains("LOCK") && refused.contains("mount the file system for writing"),
        "{refused}"
    );
    let reader = EmbeddedBroker::open(options(&root).access(Access::ReadOnly)).unwrap();
    assert_eq!(all(&reader).await, ["tea"]);
    let fresh = EmbeddedBroker::open(options(&place.join("other")))
        .unwrap_err()
        .to_string();
    assert!(
        fresh.contains("other") && fresh.contains("mount the file system"),
        "{fresh}"
    );
}

#[tokio::test]
async fn a_directory_without_permission_is_refused_with_the_cure() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("data");
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o500)).unwrap();
    if std::fs::write(directory.join("probe"), "").is_ok() {
        return println!(
            "SKIPPED a_directory_without_permission_is_refused_with_the_cure: this user may do everything"
        );
    }
    let refused = EmbeddedBroker::open(options(&directory)).unwrap_err().to_string();
    assert!(
        refused.contains("LOCK") && refused.contains("give the user of this process access"),
        "{refused}"
    );
}
