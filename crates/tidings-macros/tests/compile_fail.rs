//! What the compiler says to the commonest mistakes, pinned: an error message is part of the interface. `ui` has those in
//! a handler or an event alone, `app` those in putting an app together.
//!
//! All of them are compiled by one call of cargo, and by one test: trybuild compiles everything that this package depends
//! on once more, in a place of its own, and nothing that the workspace has compiled serves it. So they are here, where
//! that is little, and not in `tidings`, whose tests come with every driver.
//!
//! After a change that is for the better: `TRYBUILD=overwrite cargo test -p tidings-macros --test compile_fail`, and
//! read every message as if you had made the mistake.

#[test]
fn mistakes_give_errors_that_a_person_understands() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    cases.compile_fail("tests/app/*.rs");
}
