//! What the compiler says to the commonest mistakes in putting an app together, pinned: an error message is part of
//! the interface. Mistakes in a handler or an event alone are pinned beside the macros, in `tidings-macros`.
//!
//! After a change that is for the better: `TRYBUILD=overwrite cargo test -p tidings --test compile_fail`, and read
//! every message as if you had made the mistake.

#[test]
fn mistakes_give_errors_that_a_person_understands() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
