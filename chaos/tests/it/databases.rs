//! Inbox, outbox and relay under attack.

use chaos::history::Store;
use chaos::sql::{Relays, SqlCampaign, SqlOutcome, SqlPlant};
use tempfile::TempDir;

fn run(relays: Relays, store: Store, seed: u64, faults: u32, plant: Option<SqlPlant>) -> SqlOutcome {
    let directory = TempDir::with_prefix("tidings-chaos-").unwrap();
    let campaign = SqlCampaign {
        program: env!("CARGO_BIN_EXE_chaos").into(),
        directory: directory.path().to_owned(),
        seed,
        store,
        relays,
        faults,
        messages: 150,
        plant,
    };
    let outcome = campaign.run().unwrap();
    println!("plant {plant:?}: {}\n{}", outcome.report, outcome.report.table());
    if plant.is_none() && !outcome.is_clean() {
        println!("histories and data are in {}", directory.keep().display());
    }
    assert!(outcome.failures.is_empty(), "{}", outcome.failures.join("\n"));
    outcome
}

#[test]
fn effects_and_events_are_kept_once_while_postgres_and_two_services_are_attacked() {
    let test = "effects_and_events_are_kept_once_while_postgres_and_two_services_are_attacked";
    // Only whether there is one: this one is to be killed.
    if brokers::postgres_or_skip(test).is_none() {
        return;
    }
    let report = run(Relays::Both, Store::Postgres, 2_026, 10, None).report;
    assert!(report.violations.is_empty(), "{report}");
    for kind in [
        "PostgreSQL killed",
        "PostgreSQL restarted",
        "connection cut after COMMIT",
        "walsender terminated",
        "slot dropped",
        "slot invalidated",
    ] {
        assert!(report.faults.contains_key(kind), "nobody met {kind}: {report}");
    }
    assert!(
        report.messages > 0 && report.published >= report.messages,
        "{report}"
    );
    assert!(report.met.contains_key("slot opened"), "{report}");
}

#[test]
fn two_services_on_one_file_keep_effects_and_events_once() {
    let report = run(Relays::Polling, Store::Sqlite, 2_027, 6, None).report;
    assert!(report.violations.is_empty(), "{report}");
    assert!(
        report.messages > 0 && report.published >= report.messages,
        "{report}"
    );
}

#[test]
fn every_bug_around_inbox_and_outbox_is_caught_by_its_name() {
    // Processes mostly wait for what is done to them, so all campaigns run at once.
    std::thread::scope(|scope| {
        for plant in SqlPlant::ALL.iter().filter(|plant| !plant.needs_slot()) {
            scope.spawn(|| is_caught(*plant));
        }
    });
}

#[test]
fn the_bug_that_a_slot_alone_knows_of_events_is_caught_by_its_name() {
    let test = "the_bug_that_a_slot_alone_knows_of_events_is_caught_by_its_name";
    if brokers::postgres_or_skip(test).is_some() {
        is_caught(SqlPlant::SlotAlone);
    }
}

fn is_caught(plant: SqlPlant) {
    // When the faults hit is chance: a bug that they do not show gets some more to show in.
    let (relays, store) = match plant.needs_slot() {
        true => (Relays::Replication, Store::Postgres),
        false => (Relays::Polling, Store::Sqlite),
    };
    let caught = (0..4).any(|round| {
        let report = run(relays, store, 3 + round, 4, Some(plant)).report;
        report.has(plant.caught_as())
    });
    assert!(
        caught,
        "{} is not reported as {}",
        plant.name(),
        plant.caught_as()
    );
}
