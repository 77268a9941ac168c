//! `cargo xtask lint`: everything that can be said about the source without running it.

use std::process::Stdio;

use crate::Verdict;
use crate::cargo::{cargo, run_step};
use crate::error::{XtaskError, no_arguments};
use crate::{floors, links, readme, tidy};

/// One check; the quick ones stand first, and one that fails does not hide the others.
struct Check {
    name: &'static str,
    run: fn() -> Result<Verdict, XtaskError>,
}

const CHECKS: &[Check] = &[
    Check {
        name: "tidiness",
        run: tidy::run,
    },
    Check {
        name: "floors",
        run: || floors::run(&[]),
    },
    Check {
        name: "README",
        run: readme::check_text,
    },
    Check {
        name: "links of the documents",
        run: links::run,
    },
    Check {
        name: "format",
        run: || step(&["fmt", "--all", "--check"]),
    },
    Check {
        name: "clippy",
        run: || step(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    },
    Check {
        name: "docs",
        run: docs,
    },
    Check {
        name: "licences",
        run: licences,
    },
];

/// Runs every check and names those that failed.
pub(crate) fn run(arguments: &[String]) -> Result<Verdict, XtaskError> {
    no_arguments("lint", arguments)?;
    let mut failed = Vec::new();
    for check in CHECKS {
        eprintln!("--- {}", check.name);
        match (check.run)() {
            Ok(Verdict::Clean) => {}
            Ok(Verdict::Failed) => failed.push(check.name),
            Err(error) => {
                eprintln!("error: {error}");
                failed.push(check.name);
            }
        }
    }
    if failed.is_empty() {
        eprintln!("lint: all {} checks hold", CHECKS.len());
        return Ok(Verdict::Clean);
    }
    eprintln!("lint: failed: {}", failed.join(", "));
    Ok(Verdict::Failed)
}

fn step(arguments: &[&str]) -> Result<Verdict, XtaskError> {
    run_step(&mut cargo(arguments))?;
    Ok(Verdict::Clean)
}

fn docs() -> Result<Verdict, XtaskError> {
    run_step(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Verdict::Clean)
}

/// Security advisories are left out: their database needs the network on every run.
fn licences() -> Result<Verdict, XtaskError> {
    let mut probe = cargo(&["deny", "--version"]);
    let installed = probe.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !installed.is_ok_and(|status| status.success()) {
        println!("SKIPPED cargo-deny: it is not installed; `cargo install --locked cargo-deny` brings it");
        return Ok(Verdict::Clean);
    }
    step(&["deny", "check", "licenses", "bans", "sources"])
}
