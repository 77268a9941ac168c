//! What cargo prints, line by line, against the account that must come of it.

use super::*;

fn account(output: &str, end: CargoEnd) -> Summary {
    let packages = [("it-2c3d", "tidings"), ("it-9999", "tidings-embedded")];
    let packages = packages.map(|(file, package)| (file.to_owned(), package.to_owned()));
    let mut summary = Summary::new(packages.into());
    for line in output.lines() {
        summary.feed(line);
    }
    summary.finish(end);
    summary
}

const TWO_PROGRAMS: &str = "\
     Running unittests src/lib.rs (target/debug/deps/tidings_log-0a1b)

running 2 tests
test frame::torn_tail_is_cut ... ok
test frame::empty ... ok

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

     Running tests/it/main.rs (target/debug/deps/it-2c3d)

running 2 tests
test order_is_kept ... ok
test nothing_is_lost ... FAILED

failures:

---- nothing_is_lost stdout ----
thread 'nothing_is_lost' panicked at 3 lost

failures:
    nothing_is_lost

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.10s

error: test failed, to rerun pass `-p tidings --test it`
   Doc-tests tidings

running 1 test
test src/lib.rs - (line 3) ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

#[test]
fn the_counts_of_all_programs_are_added_and_the_failure_is_named() {
    let summary = account(TWO_PROGRAMS, CargoEnd::Failed);
    assert_eq!(summary.closing_line(), "4 passed, 1 failed, 0 skipped");
    assert_eq!(
        summary.details(),
        "FAILED tidings, tests/it/main.rs: nothing_is_lost\n"
    );
}

const SKIPPING: &str = "\
     Running tests/it/main.rs (target/debug/deps/it-2c3d)
running 4 tests
test memory::keeps_offsets ... ok
test memory::conformance ... ok
test slow ... ignored, takes a day
test old ... ignored

successes:

---- memory::keeps_offsets stdout ----
SKIPPED keeps_offsets: memory forgets at exit

---- memory::conformance stdout ----
SKIPPED memory/transactions: not offered
SKIPPED memory/transactions: not offered
SKIPPED memory/delay: not offered
some noise

successes:
    memory::conformance
    memory::keeps_offsets

test result: ok. 2 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.10s
";

#[test]
fn a_test_that_skips_itself_is_not_passed_and_a_skipped_part_is_counted_once_beside_the_tests() {
    let summary = account(SKIPPING, CargoEnd::Succeeded);
    assert_eq!(summary.closing_line(), "1 passed, 0 failed, 5 skipped");
    let details = summary.details();
    for expected in [
        "SKIPPED keeps_offsets: memory forgets at exit (tidings, tests/it/main.rs)",
        "SKIPPED memory/transactions: not offered (",
        "SKIPPED memory/delay: not offered (",
        "SKIPPED slow: takes a day (",
        "SKIPPED old: ignored (",
    ] {
        assert!(details.contains(expected), "{expected} is missing in\n{details}");
    }
}

#[test]
fn the_output_of_passed_tests_is_hidden_and_that_of_failed_ones_is_shown() {
    let mut summary = Summary::default();
    let shown: Vec<&str> = SKIPPING
        .lines()
        .chain(TWO_PROGRAMS.lines())
        .filter(|line| summary.feed(line) == Shown::Print)
        .collect();
    assert!(!shown.contains(&"some noise"));
    assert!(shown.contains(&"test memory::conformance ... ok"));
    assert!(shown.contains(&"thread 'nothing_is_lost' panicked at 3 lost"));
}

#[test]
fn the_same_test_name_in_two_modules_is_two_skips() {
    let output = "\
     Running tests/it/main.rs (target/debug/deps/it-2c3d)
test memory::replay ... ok
test embedded::replay ... ok
successes:
---- memory::replay stdout ----
SKIPPED replay: no clock
---- embedded::replay stdout ----
SKIPPED replay: no clock
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
";
    let summary = account(output, CargoEnd::Succeeded);
    assert_eq!(summary.closing_line(), "0 passed, 0 failed, 2 skipped");
}

#[test]
fn the_same_skip_in_two_packages_is_two_skips_and_each_names_its_package() {
    let output = "\
     Running tests/it/main.rs (target/debug/deps/it-2c3d)
SKIPPED transactions: not offered
     Running tests/it/main.rs (target/debug/deps/it-9999)
SKIPPED transactions: not offered
";
    let summary = account(output, CargoEnd::Succeeded);
    assert_eq!(summary.closing_line(), "0 passed, 0 failed, 2 skipped");
    for package in [
        "(tidings, tests/it/main.rs)",
        "(tidings-embedded, tests/it/main.rs)",
    ] {
        assert!(summary.details().contains(package), "{}", summary.details());
    }
}

#[test]
fn a_skip_written_past_libtest_is_seen_even_behind_the_name_of_its_test() {
    let output = "\
     Running tests/it/main.rs (target/debug/deps/it-2c3d)
test kafka_group ... SKIPPED kafka_group: no broker on this machine
some more noise
ok
test plain ... ok
SKIPPED rabbitmq: no broker on this machine
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
";
    let summary = account(output, CargoEnd::Succeeded);
    assert_eq!(summary.closing_line(), "1 passed, 0 failed, 2 skipped");
}

#[test]
fn a_program_that_crashes_is_a_failure() {
    let output = "\
     Running tests/it/main.rs (target/debug/deps/it-2c3d)
running 3 tests
*** rdkafka_cgrp.c:3536: assert: false ***
test a_quick_one ... ok
error: test failed, to rerun pass `-p tidings --test it`

Caused by:
  process didn't exit successfully: `/t/debug/deps/it-2c3d --show-output` (signal: 11, SIGSEGV: invalid memory reference)
error: 1 target failed:
    `-p tidings --test it`
";
    let mut summary = account(output, CargoEnd::Failed);
    assert_eq!(summary.closing_line(), "0 passed, 1 failed, 0 skipped");
    summary.ask_what_was_open(|crash| match crash.file.as_str() {
        "it-2c3d" => ["a_quick_one", "one_that_crashes", "the_next"]
            .map(str::to_owned)
            .into(),
        other => panic!("{other} did not crash"),
    });
    let expected = "ended without a result, signal: 11, SIGSEGV: invalid memory reference; \
         its last words: *** rdkafka_cgrp.c:3536: assert: false ***; had not ended: one_that_crashes, the_next\n";
    assert!(summary.details().contains(expected), "{}", summary.details());
}

#[test]
fn a_build_that_fails_is_a_failure() {
    let summary = account("error: could not compile `shop`", CargoEnd::Failed);
    assert_eq!(summary.closing_line(), "0 passed, 1 failed, 0 skipped");
}

#[test]
fn a_name_matches_its_test_by_path_or_by_last_part_only() {
    for (name, test, expected) in [
        ("replay", "memory::replay", true),
        ("memory::replay", "memory::replay", true),
        ("play", "memory::replay", false),
        ("memory", "memory::replay", false),
    ] {
        assert_eq!(is_name_of(name, test), expected, "{name} of {test}");
    }
}
