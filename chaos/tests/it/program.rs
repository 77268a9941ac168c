//! The program as it is called.

use std::process::{Command, Output};

fn chaos(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chaos"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn a_campaign_cleans_up_after_itself_and_one_with_findings_says_how_to_repeat_it() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().to_str().unwrap();
    let clean = chaos(&["run", "--seed", "11", "--kills", "2", "--dir", directory]);
    let said = String::from_utf8(clean.stdout).unwrap();
    assert!(clean.status.success(), "{said}");
    assert!(said.contains("seed 11") && said.contains("2 kills"), "{said}");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);

    let planted = chaos(&[
        "run", "--seed", "11", "--kills", "2", "--dir", directory, "--plant", "invent",
    ]);
    assert_eq!(planted.status.code(), Some(1));
    let said = String::from_utf8(planted.stderr).unwrap();
    assert!(
        said.contains("repeat: cargo xtask chaos --seed 11") && said.contains("--plant invent"),
        "{said}"
    );
    let kept = root.path().join("campaign-11");
    let judged = chaos(&["check", kept.to_str().unwrap()]);
    assert_eq!(judged.status.code(), Some(1));
    assert!(String::from_utf8(judged.stdout).unwrap().contains("phantom: "));
}

#[test]
fn what_is_no_history_is_refused_with_its_line() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("h.jsonl");
    std::fs::write(&path, "{}\n").unwrap();
    let refused = chaos(&["check", path.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("h.jsonl:1"), "{said}");
}
