//! Each violation in a small history that has it, and in a near twin that has not.

use super::*;
use crate::history::{DeadLetter, Fault, Seen};

/// A history that is written by hand.
#[derive(Default)]
struct Story {
    lines: Vec<Line>,
}

/// One whose faults are over, with everything handled and nothing left.
fn story() -> Story {
    let mut story = Story::default();
    for _ in 0..QUIET {
        story.tell(Event::Lifecycle(Lifecycle::Quiet));
    }
    story.left(0)
}

impl Story {
    fn tell(&mut self, event: Event) {
        self.lines.push(Line { t: 1, n: 1, event });
    }

    fn sql(mut self, event: SqlEvent) -> Self {
        self.tell(Event::Sql(event));
        self
    }

    fn left(self, rows: u64) -> Self {
        self.sql(SqlEvent::Left { rows })
    }

    fn accepted(self, id: &str) -> Self {
        self.sql(SqlEvent::Sent { id: id.into() })
            .sql(SqlEvent::Accepted { id: id.into() })
    }

    fn claimed(self, id: &str) -> Self {
        self.sql(SqlEvent::Claim { id: id.into() })
    }

    fn committed(self, nonce: &str) -> Self {
        let nonces = vec![nonce.into()];
        self.sql(SqlEvent::Committed { nonces })
    }

    /// A change of the key `k`.
    fn effect(self, id: &str, number: u64, nonce: &str) -> Self {
        self.sql(SqlEvent::Effect(Effect {
            id: id.into(),
            key: "k".into(),
            number,
            nonce: nonce.into(),
        }))
    }

    fn arrived(self, number: u64, nonce: &str) -> Self {
        self.arrived_as(number, nonce, &format!("id of {nonce}"))
    }

    fn arrived_as(self, number: u64, nonce: &str, message_id: &str) -> Self {
        self.sql(SqlEvent::Arrived(Arrival {
            message_id: message_id.into(),
            key: "k".into(),
            number,
            nonce: nonce.into(),
        }))
    }

    /// All that is to come of a message.
    fn handled(self, id: &str, number: u64, nonce: &str) -> Self {
        self.accepted(id)
            .claimed(id)
            .committed(nonce)
            .effect(id, number, nonce)
            .arrived(number, nonce)
    }

    fn given_up(mut self, id: &str, reason: &str) -> Self {
        self.tell(Event::DeadLetter(DeadLetter {
            seen: Seen::InLog,
            group: "singles".into(),
            topic: "inputs".into(),
            partition: 0,
            offset: 0,
            id: id.into(),
            digest: 1,
            reason: reason.into(),
            attempts: 1,
            error_bytes: 1,
        }));
        self
    }

    #[track_caller]
    fn is(self, rules: &[Rule]) {
        let report = check(&self.lines);
        let found: BTreeSet<Rule> = report.violations.iter().map(|(rule, _)| *rule).collect();
        assert_eq!(found, rules.iter().copied().collect(), "{report}");
    }
}

/// A message that works, and one that never does.
fn messages() -> (String, String) {
    let find = |wanted| {
        let ids = (0..).map(|number| format!("i-{number}"));
        ids.into_iter().find(|id| fails_for_good(id) == wanted).unwrap()
    };
    (find(false), find(true))
}

#[test]
fn what_was_done_once_is_in_order() {
    let (good, bad) = messages();
    let story = story()
        .handled(&good, 1, "a")
        .accepted(&good)
        .committed("b")
        .effect("w-1-0-0", 2, "b")
        .arrived(2, "b")
        .accepted(&bad)
        .given_up(&bad, "permanent");
    story.is(&[]);
}

#[test]
fn effect_dup_is_a_second_row_or_one_that_no_claim_keeps_from_coming() {
    let (id, _) = messages();
    story()
        .handled(&id, 1, "a")
        .effect(&id, 2, "b")
        .arrived(2, "b")
        .is(&[Rule::EffectDup]);
    story()
        .accepted(&id)
        .effect(&id, 1, "a")
        .arrived(1, "a")
        .is(&[Rule::EffectDup]);
}

/// As when the claim is committed before the work.
#[test]
fn effect_lost_is_a_message_that_was_accepted_and_has_no_row() {
    let (id, _) = messages();
    story().accepted(&id).claimed(&id).is(&[Rule::EffectLost]);
    story().accepted(&id).is(&[Rule::EffectLost]);
    story().accepted(&id).given_up(&id, "killed").is(&[]);
    // Nobody has promised to keep it.
    story().sql(SqlEvent::Sent { id }).is(&[]);
}

#[test]
fn effect_lost_is_also_what_the_database_said_was_committed() {
    story().committed("a").is(&[Rule::EffectLost]);
    let second = || story().effect("w-1-0-0", 2, "b").arrived(2, "b");
    second().is(&[Rule::EffectLost]);
    second()
        .effect("w-1-0-1", 1, "a")
        .arrived(1, "a")
        .is(&[Rule::KeyReorder]);
}

/// As when it is published before the commit.
#[test]
fn outbox_ghost_is_an_event_of_no_transaction() {
    story().arrived(1, "a").is(&[Rule::OutboxGhost]);
    story().arrived(1, "a").effect("w-1-0-0", 1, "a").is(&[]);
}

/// As when it is taken out before the broker has confirmed it.
#[test]
fn outbox_missing_is_a_transaction_without_its_event() {
    let (id, _) = messages();
    let unpublished = || story().accepted(&id).claimed(&id).effect(&id, 1, "a");
    unpublished().is(&[Rule::OutboxMissing]);
    // It may only be late.
    unpublished().left(1).is(&[Rule::NotQuiet]);
    unpublished().arrived(1, "a").is(&[]);
}

#[test]
fn key_reorder_is_an_event_behind_a_later_one_of_its_key() {
    let two = || story().effect("w-1-0-0", 1, "a").effect("w-1-0-1", 2, "b");
    two().arrived(2, "b").arrived(1, "a").is(&[Rule::KeyReorder]);
    // What comes again comes behind what was sent meanwhile.
    two().arrived(1, "a").arrived(2, "b").arrived(1, "a").is(&[]);
}

#[test]
fn an_event_has_one_message_id_however_often_it_comes() {
    let one = || story().effect("w-1-0-0", 1, "a").arrived_as(1, "a", "x");
    one().arrived_as(1, "a", "x").is(&[]);
    one().arrived_as(1, "a", "y").is(&[Rule::Duplicate]);
    let two = one().effect("w-1-0-1", 2, "b");
    two.arrived_as(2, "b", "x").is(&[Rule::Duplicate]);
}

#[test]
fn phantom_is_an_effect_of_what_nobody_sent_or_never_works() {
    let (good, bad) = messages();
    let unsent = story().claimed(&good).effect(&good, 1, "a").arrived(1, "a");
    unsent.is(&[Rule::Phantom]);
    let worked = story().handled(&bad, 1, "a").given_up(&bad, "permanent");
    worked.is(&[Rule::Phantom]);
}

#[test]
fn dead_letters_are_those_that_never_work() {
    let (good, bad) = messages();
    story().accepted(&bad).is(&[Rule::MissingDeadLetter]);
    let given_up = story().accepted(&good).given_up(&good, "exhausted");
    given_up.is(&[Rule::PhantomDeadLetter]);
}

#[test]
fn a_campaign_must_end_in_quiet_with_an_empty_outbox() {
    story().left(3).is(&[Rule::NotQuiet]);
    Story::default().is(&[Rule::NotQuiet]);
    let mut restless = story();
    let reason = "singles is at 3 of 7".to_owned();
    restless.tell(Event::Lifecycle(Lifecycle::Restless { reason }));
    restless.is(&[Rule::NotQuiet]);
}

#[test]
fn faults_are_counted_by_their_kind() {
    let mut story = story();
    for point in [None, Some("claimed".to_owned()), Some("claimed".to_owned())] {
        story.tell(Event::Fault(Fault { point, call: None }));
    }
    let report = check(&story.lines);
    assert_eq!((report.all_faults(), report.faults["killed at claimed"]), (3, 2));
}
