//! Runs one case: [`run`].

use crate::catalog::{CASES, Case};
use crate::features::Feature;
use crate::harness::Harness;
use crate::stage::{Fresh, Stage};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// No case needs longer in virtual time. What hangs fails instead.
const VIRTUAL_LIMIT: Duration = Duration::from_secs(100 * 86_400);
/// No case needs longer in real time.
const REAL_LIMIT: Duration = Duration::from_secs(120);

/// Runs a case of the suite: what the tests call that [`suite!`](crate::suite) makes. `test` is the test's full name,
/// `case` that of the case.
///
/// # Panics
/// If the broker fails the case, or there is none of that name.
pub fn run<H: Harness>(test: &str, case: &str, fresh: impl Fn() -> H + 'static) {
    let (_, found) = CASES
        .iter()
        .find(|(name, _)| *name == case)
        .unwrap_or_else(|| panic!("the suite has no case {case}"));
    // Jitter and ids come from here: a case that fails fails again.
    fastrand::seed(7);
    let fresh: Fresh = Arc::new(move || Box::new(fresh()));
    let first = fresh();
    if let Some(missing) = first.missing() {
        say_skipped(test, first.name(), missing);
        return;
    }
    let is_virtual = first.features().has(Feature::VirtualTime);
    drop(first);
    let case: Case = *found;
    let (broker, verdict) = runtime(is_virtual).block_on(async {
        let limit = if is_virtual { VIRTUAL_LIMIT } else { REAL_LIMIT };
        let stage = Stage::new(fresh);
        let broker = stage.harness.name();
        let done = tokio::time::timeout(limit, case(stage)).await;
        let verdict = done.unwrap_or_else(|_| panic!("it does not come to an end within {limit:?}"));
        (broker, verdict)
    });
    if let Err(lacking) = verdict {
        say_skipped(test, broker, &format!("has no {}", lacking.0));
    }
}

#[expect(clippy::print_stdout, reason = "the test run collects these lines")]
fn say_skipped(test: &str, broker: &str, why: &str) {
    // Tests are named without the name of their program.
    let test = test.split_once("::").map_or(test, |(_, name)| name);
    println!("SKIPPED {test}: {broker} {why}");
}

fn runtime(is_virtual: bool) -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all();
    if is_virtual {
        builder.start_paused(true);
    }
    builder.build().expect("a runtime can be started")
}
