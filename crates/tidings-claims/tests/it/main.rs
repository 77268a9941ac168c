//! The directory of payloads.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tidings_claims::{DirectoryClaims, Pruned};
use tidings_core::{Claim, ClaimError, ClaimStore};

const DAY: Duration = Duration::from_secs(86_400);

fn claim(payload: &[u8]) -> Claim {
    Claim::new("scans", payload.len() as u64, Sha256::digest(payload).into())
}

fn store(root: &Path) -> DirectoryClaims {
    DirectoryClaims::new("scans", root.join("deep/claims"))
}

fn file_of(root: &Path, claim: &Claim) -> PathBuf {
    let name = claim.name();
    root.join("deep/claims").join(&name[..2]).join(name)
}

async fn put(store: &DirectoryClaims, payload: &'static [u8]) -> Claim {
    let claim = claim(payload);
    store.put(&claim, Bytes::from_static(payload)).await.unwrap();
    claim
}

fn age(file: &Path, days: u32) {
    let file = fs::File::options().write(true).open(file).unwrap();
    file.set_modified(SystemTime::now() - days * DAY).unwrap();
}

#[tokio::test]
async fn what_was_put_there_is_had_again_and_nothing_unfinished_is_left() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    for payload in [&b"scan"[..], b"", b"scan"] {
        let claim = put(&store, payload).await;
        assert_eq!(store.get(&claim).await.unwrap(), payload);
        let shelf = file_of(root.path(), &claim).parent().unwrap().to_owned();
        assert_eq!(fs::read_dir(shelf).unwrap().count(), 1);
    }
}

#[tokio::test]
async fn what_is_missing_is_told_from_a_directory_that_is_not_there() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let missing = claim(b"missing");
    let away = store.get(&missing).await.unwrap_err();
    assert!(!away.is_permanent(), "{away}");
    // The point where it would be mounted is there, and nothing but that.
    fs::create_dir_all(store.directory()).unwrap();
    assert_eq!(store.prune(DAY).await.unwrap(), Pruned::default());
    let unmounted = store.get(&missing).await.unwrap_err();
    assert!(!unmounted.is_permanent(), "{unmounted}");
    assert!(unmounted.to_string().contains("mounted"), "{unmounted}");
    put(&store, b"another").await;
    let gone = store.get(&missing).await.unwrap_err();
    assert!(matches!(gone, ClaimError::Missing { .. }), "{gone}");
}

#[tokio::test]
async fn a_file_of_another_size_is_not_read() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let claim = put(&store, b"scan").await;
    fs::write(file_of(root.path(), &claim), b"scan and more").unwrap();
    let error = store.get(&claim).await.unwrap_err();
    assert!(matches!(error, ClaimError::Corrupt { .. }), "{error}");
    // Published again it is whole again.
    put(&store, b"scan").await;
    assert_eq!(store.get(&claim).await.unwrap(), &b"scan"[..]);
}

#[tokio::test]
async fn pruning_goes_by_the_age_of_the_last_message_and_takes_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    let (old, young, again) = (
        put(&store, b"old").await,
        put(&store, b"young").await,
        put(&store, b"again").await,
    );
    for claim in [&old, &again] {
        age(&file_of(root.path(), claim), 10);
    }
    put(&store, b"again").await;
    let shelf = file_of(root.path(), &old).parent().unwrap().to_owned();
    for other in ["notes.txt", ".unfinished-1"] {
        fs::write(shelf.join(other), b"x").unwrap();
        age(&shelf.join(other), 10);
    }
    let pruned = store.prune(7 * DAY).await.unwrap();
    assert_eq!((pruned.objects, pruned.bytes, pruned.leftovers), (1, 3, 1));
    assert!(store.get(&old).await.unwrap_err().is_permanent());
    for claim in [&young, &again] {
        store.get(claim).await.unwrap();
    }
    assert!(shelf.join("notes.txt").exists(), "it is not ours");
    assert_eq!(store.prune(7 * DAY).await.unwrap(), Pruned::default());
}

#[tokio::test]
async fn a_link_out_of_the_directory_is_not_pruned_through() {
    let root = tempfile::tempdir().unwrap();
    let store = store(root.path());
    put(&store, b"scan").await;
    let outside = root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let victim = outside.join("0".repeat(64));
    fs::write(&victim, b"x").unwrap();
    age(&victim, 10);
    std::os::unix::fs::symlink(&outside, store.directory().join("00")).unwrap();
    store.prune(DAY).await.unwrap();
    assert!(victim.exists());
}
