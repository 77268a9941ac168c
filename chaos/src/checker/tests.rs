//! Each violation in a small history that has it, and in a near twin that has not.

use super::*;
use crate::history::{
    Acked, Commit, DeadLetter, Disk, Fault, Fsync, GroupFacts, Handle, Phase, Seen, Send, Settings, Stage,
};

const TOPIC: &str = "orders";
const GROUP: &str = "billing";
const MS: u64 = 1_000_000;

/// A history that is written by hand.
struct Story {
    lines: Vec<Line>,
    n: u32,
    t: u64,
    disk: Disk,
    output: Option<String>,
}

fn story() -> Story {
    story_on(Disk::Kept)
}

fn story_on(disk: Disk) -> Story {
    let mut story = Story {
        lines: Vec::new(),
        n: 0,
        t: 0,
        disk,
        output: None,
    };
    story.start();
    story
}

impl Story {
    fn tell(&mut self, event: Event) -> &mut Self {
        self.t += MS;
        self.lines.push(Line {
            t: self.t,
            n: self.n,
            event,
        });
        self
    }

    fn live(&mut self, lifecycle: Lifecycle) -> &mut Self {
        self.tell(Event::Lifecycle(lifecycle))
    }

    fn start(&mut self) -> &mut Self {
        let settings = Settings {
            seed: 7,
            fsync: Fsync::Interval,
            disk: self.disk,
            window_beats: 2,
            grace_ms: 100,
            rss_budget: 1_000,
            groups: vec![GroupFacts {
                group: GROUP.into(),
                topic: TOPIC.into(),
                attempts: 2,
                output: self.output.clone(),
            }],
        };
        self.live(Lifecycle::Started(settings))
    }

    fn killed(&mut self) -> &mut Self {
        self.tell(Event::Fault(Fault {
            point: None,
            call: None,
        }));
        self.n += 1;
        self.start()
    }

    fn stopped(&mut self) -> &mut Self {
        self.gave_up(0)
    }

    fn gave_up(&mut self, abandoned: u64) -> &mut Self {
        self.live(Lifecycle::Draining { deadline_ms: 50 });
        self.live(Lifecycle::Drained {
            abandoned,
            problems: Vec::new(),
        });
        self.n += 1;
        self.start()
    }

    fn wait(&mut self, ms: u64) -> &mut Self {
        self.t += ms * MS;
        self
    }

    fn send_to(&mut self, topic: &str, id: &str, sequence: u64) -> &mut Self {
        self.tell(Event::Send(Send {
            topic: topic.into(),
            id: id.into(),
            key: "k".into(),
            sequence,
            digest: 1,
            group: None,
        }))
    }

    fn ack_at(&mut self, topic: &str, id: &str, offset: u64) -> &mut Self {
        self.tell(Event::Acked(Acked {
            topic: topic.into(),
            id: id.into(),
            partition: 0,
            offset,
        }))
    }

    /// Sent and acknowledged; its number is its sequence and its offset.
    fn published(&mut self, number: u64) -> &mut Self {
        let id = number.to_string();
        self.send_to(TOPIC, &id, number).ack_at(TOPIC, &id, number)
    }

    fn handle(&mut self, number: u64, call: u64, phase: Phase) -> &mut Self {
        self.tell(Event::Handle(handling(number, call, phase)))
    }

    fn handled(&mut self, number: u64) -> &mut Self {
        let call = self.lines.len() as u64;
        self.handle(number, call, Phase::Start)
            .handle(number, call, Phase::Ok)
    }

    fn failed(&mut self, number: u64, attempt: u32, phase: Phase) -> &mut Self {
        let call = self.lines.len() as u64;
        for phase in [Phase::Start, phase] {
            self.tell(Event::Handle(Handle {
                attempt,
                ..handling(number, call, phase)
            }));
        }
        self
    }

    fn committed(&mut self, stage: Stage, watermark: u64, finished: &[(u64, u64)]) -> &mut Self {
        self.tell(Event::Commit(Commit {
            stage,
            group: GROUP.into(),
            topic: TOPIC.into(),
            partition: 0,
            epoch: 1,
            watermark,
            finished: finished.to_vec(),
        }))
    }

    fn letter(&mut self, seen: Seen, number: u64, change: impl FnOnce(&mut DeadLetter)) -> &mut Self {
        let mut letter = DeadLetter {
            seen,
            group: GROUP.into(),
            topic: TOPIC.into(),
            partition: 0,
            offset: number,
            id: number.to_string(),
            digest: 1,
            reason: "permanent".into(),
            attempts: 1,
            error_bytes: 9,
        };
        change(&mut letter);
        self.tell(Event::DeadLetter(letter))
    }

    /// The end: these violations and no others.
    #[track_caller]
    fn is(&mut self, rules: &[Rule]) -> Report {
        self.live(Lifecycle::Quiet);
        self.ends(rules)
    }

    #[track_caller]
    fn ends(&mut self, rules: &[Rule]) -> Report {
        let report = check(&self.lines);
        let found: Vec<_> = report.counts().into_keys().collect();
        assert_eq!(found, rules, "{report}");
        report
    }
}

fn handling(number: u64, call: u64, phase: Phase) -> Handle {
    Handle {
        phase,
        group: GROUP.into(),
        topic: TOPIC.into(),
        lane: TOPIC.into(),
        partition: 0,
        offset: number,
        epoch: 1,
        id: number.to_string(),
        key: "k".into(),
        sequence: number,
        digest: 1,
        attempt: 1,
        call,
    }
}

#[test]
fn a_run_without_faults_is_clean_and_is_summed_up() {
    let report = story()
        .published(1)
        .handled(1)
        .committed(Stage::Reported, 2, &[])
        .is(&[]);
    assert_eq!((report.messages, report.handled, report.repeated), (1, 1, 0));
    let summary = report.to_string();
    assert!(
        summary.starts_with("0 kills at 0 places, 1 messages, lost 0"),
        "{summary}"
    );
    assert!(summary.contains("seed 7"), "{summary}");
}

#[test]
fn lost_write_is_what_was_acknowledged_and_never_handled() {
    story().published(1).is(&[Rule::LostWrite]);
    story().published(1).handled(1).is(&[]);
    story().send_to(TOPIC, "1", 1).is(&[]);
}

#[test]
fn lost_write_is_excused_only_within_the_interval_before_a_power_cut() {
    let beat = || Event::Lifecycle(Lifecycle::Beat);
    let report = story_on(Disk::PowerLoss)
        .tell(beat())
        .published(1)
        .tell(beat())
        .killed()
        .is(&[]);
    assert_eq!((report.excused, report.excused_age_ms), (1, 2));
    let mut told = story_on(Disk::PowerLoss);
    told.published(1)
        .tell(beat())
        .tell(beat())
        .killed()
        .is(&[Rule::LostWrite]);
    story_on(Disk::PowerLoss)
        .published(1)
        .wait(9_000)
        .killed()
        .is(&[]);
    story_on(Disk::PowerLoss)
        .killed()
        .published(1)
        .is(&[Rule::LostWrite]);
    story().published(1).killed().is(&[Rule::LostWrite]);
}

#[test]
fn duplicate_is_a_delivery_that_no_fault_explains() {
    story().published(1).handled(1).handled(1).is(&[Rule::Duplicate]);
    story()
        .published(1)
        .handled(1)
        .stopped()
        .handled(1)
        .is(&[Rule::Duplicate]);
    let report = story().published(1).handled(1).killed().handled(1).is(&[]);
    assert_eq!(report.repeated, 1);
}

#[test]
fn duplicate_is_also_more_than_a_drain_gave_up() {
    let told = |abandoned: u64| {
        let mut told = story();
        told.published(1).published(2).handled(1).handled(2);
        told.gave_up(abandoned).handled(1).killed().handled(1);
        told
    };
    told(1).is(&[]);
    told(0).is(&[Rule::Duplicate]);
    let mut both = story();
    both.published(1).published(2).handled(1).handled(2);
    both.gave_up(1).handled(1).handled(2).is(&[Rule::Duplicate]);
}

#[test]
fn duplicate_is_also_what_was_stored_as_finished_before_the_fault() {
    for finished in [&[][..], &[(1, 2)]] {
        let watermark = if finished.is_empty() { 2 } else { 0 };
        let mut told = story();
        told.published(1)
            .handled(1)
            .committed(Stage::Stored, watermark, finished);
        told.killed().handled(1).is(&[Rule::Duplicate]);
    }
    let mut told = story();
    told.published(1).handled(1).committed(Stage::Reported, 2, &[]);
    told.killed().handled(1).is(&[]);
}

#[test]
fn duplicate_is_also_an_output_that_no_handling_explains() {
    let told = |copies: usize| {
        let mut told = story();
        told.output = Some("payments".into());
        told.start().published(1).handled(1);
        for _ in 0..copies {
            told.send_to("payments", "p1", 1).ack_at("payments", "p1", 0);
        }
        told
    };
    told(1).is(&[]);
    told(2).is(&[Rule::Duplicate]);
}

#[test]
fn duplicate_is_also_a_message_that_is_parked_twice() {
    let retry = "orders.billing.retry";
    let mut told = story();
    told.published(1).failed(1, 1, Phase::Transient);
    told.send_to(retry, "1", 1).ack_at(retry, "1", 0);
    let mut twice = story();
    twice.lines = told.lines.clone();
    twice.send_to(retry, "1", 1).handled(1).is(&[Rule::Duplicate]);
    told.killed().send_to(retry, "1", 1).handled(1).is(&[]);
}

#[test]
fn phantom_is_what_nobody_sent_or_not_so() {
    story().handled(1).is(&[Rule::Phantom]);
    story().published(1).handled(1).is(&[]);
    let mut told = story();
    told.published(1);
    for phase in [Phase::Start, Phase::Ok] {
        let digest = 2;
        let changed = Handle {
            digest,
            ..handling(1, 1, phase)
        };
        told.tell(Event::Handle(changed));
    }
    told.is(&[Rule::Phantom]);
}

#[test]
fn key_reorder_counts_first_successes_only() {
    story()
        .published(1)
        .published(2)
        .handled(2)
        .handled(1)
        .is(&[Rule::KeyReorder]);
    let mut told = story();
    told.published(1).published(2).handled(1).handled(2);
    told.killed().handled(1).handled(2).is(&[]);
}

#[test]
fn key_overlap_is_between_calls_and_not_within_a_batch() {
    let told = |second: u64| {
        let mut told = story();
        told.published(1).published(2);
        told.handle(1, 1, Phase::Start).handle(2, second, Phase::Start);
        told.handle(1, 1, Phase::Ok).handle(2, second, Phase::Ok);
        told
    };
    told(2).is(&[Rule::KeyOverlap]);
    told(1).is(&[]);
    let mut told = story();
    told.published(1).published(2).handle(1, 1, Phase::Start);
    told.killed().handled(1).handled(2).is(&[]);
}

#[test]
fn commit_ahead_is_judged_at_its_moment() {
    story()
        .published(1)
        .committed(Stage::Reported, 2, &[])
        .handled(1)
        .is(&[Rule::CommitAhead]);
    story()
        .published(1)
        .handled(1)
        .committed(Stage::Stored, 2, &[])
        .is(&[]);
    story()
        .published(1)
        .committed(Stage::Reported, 0, &[(1, 2)])
        .handled(1)
        .is(&[Rule::CommitAhead]);
    story()
        .published(1)
        .committed(Stage::Reported, 1, &[])
        .handled(1)
        .is(&[]);
}

#[test]
fn commit_ahead_waits_for_the_output_and_for_the_parked_copy() {
    let mut told = story();
    told.output = Some("payments".into());
    told.start().published(1).handled(1).send_to("payments", "p1", 1);
    let mut early = story();
    early.lines = told.lines.clone();
    early.committed(Stage::Reported, 2, &[]).is(&[Rule::CommitAhead]);
    told.ack_at("payments", "p1", 0)
        .committed(Stage::Reported, 2, &[])
        .is(&[]);

    let retry = "orders.billing.retry";
    let mut told = story();
    told.published(1)
        .failed(1, 1, Phase::Transient)
        .send_to(retry, "1", 1);
    told.ack_at(retry, "1", 0)
        .committed(Stage::Reported, 2, &[])
        .handled(1)
        .is(&[]);
}

#[test]
fn missing_dead_letter_is_one_that_the_log_has_not_got() {
    let told = |seen: Seen| {
        let mut told = story();
        told.published(1)
            .failed(1, 1, Phase::Permanent)
            .letter(seen, 1, |_| {});
        told
    };
    told(Seen::Written).is(&[Rule::MissingDeadLetter]);
    told(Seen::InLog).is(&[]);
    let mut exhausted = story();
    exhausted
        .published(1)
        .failed(1, 1, Phase::Transient)
        .failed(1, 2, Phase::Transient);
    exhausted.is(&[Rule::MissingDeadLetter]);
}

#[test]
fn phantom_dead_letter_is_of_a_message_that_did_not_fail() {
    let told = |phase: Phase| {
        let mut told = story();
        told.published(1)
            .failed(1, 1, phase)
            .letter(Seen::InLog, 1, |_| {});
        told
    };
    told(Phase::Ok).is(&[Rule::PhantomDeadLetter]);
    told(Phase::Permanent).is(&[]);
    story()
        .letter(Seen::InLog, 1, |_| {})
        .is(&[Rule::PhantomDeadLetter]);
}

#[test]
fn phantom_dead_letter_is_also_one_with_other_bytes_or_without_its_diagnosis() {
    let changes: [fn(&mut DeadLetter); 7] = [
        |letter| letter.digest = 2,
        |letter| letter.reason = "exhausted".into(),
        |letter| letter.error_bytes = 0,
        |letter| letter.attempts = 0,
        |letter| letter.topic = "payments".into(),
        |letter| letter.offset = 2,
        |letter| letter.group = "nobody".into(),
    ];
    for change in changes {
        let mut told = story();
        told.published(1)
            .published(2)
            .handled(2)
            .failed(1, 1, Phase::Permanent);
        // The letter that is in order, so that none is missing.
        told.letter(Seen::InLog, 1, |_| {});
        told.letter(Seen::InLog, 1, change).is(&[Rule::PhantomDeadLetter]);
    }
}

/// What is told of a process before it is killed.
type Tell = fn(&mut Story);

/// Three deaths of the first message; what each story has of a death is told before the kill.
fn died(tell: &[Tell]) -> Story {
    let mut told = story();
    told.published(1).published(2);
    for one in tell {
        told.live(Lifecycle::Ready { rss: 1 });
        one(&mut told);
        told.killed();
    }
    told.handled(2)
        .letter(Seen::InLog, 1, |letter| letter.reason = "killed".into());
    told
}

fn running(story: &mut Story) {
    story.handle(1, 1, Phase::Start);
}

fn beside_another(story: &mut Story) {
    story.handle(1, 1, Phase::Start).handle(2, 2, Phase::Start);
}

fn returned(story: &mut Story) {
    story.handle(1, 1, Phase::Start).handle(1, 1, Phase::Transient);
}

fn returned_long_ago(story: &mut Story) {
    returned(story);
    story.wait(60);
}

fn parked(story: &mut Story) {
    returned(story);
    story.send_to("orders.billing.retry", "1", 1);
}

fn given_up(story: &mut Story) {
    returned(story);
    story.tell(Event::Send(Send {
        topic: "orders.DLT".into(),
        id: "1".into(),
        key: "k".into(),
        sequence: 1,
        digest: 1,
        group: Some(GROUP.into()),
    }));
}

fn not_begun(_story: &mut Story) {}

#[test]
fn phantom_dead_letter_is_also_a_condemned_message_of_which_no_three_processes_can_have_died() {
    let stories: [(&[Tell], bool); 12] = [
        (&[running, running, running], true),
        (&[beside_another, beside_another, running], true),
        (&[beside_another, returned, running], true),
        (&[running, running, not_begun], true),
        (&[returned_long_ago, running, running, running], true),
        (&[running, running], false),
        (&[returned_long_ago, running, running], false),
        (&[parked, running, running], false),
        (&[given_up, running, running], false),
        (&[running, given_up, given_up], false),
        (&[beside_another, beside_another, beside_another], false),
        (&[not_begun, not_begun, not_begun], false),
    ];
    for (number, (tell, may)) in stories.into_iter().enumerate() {
        let report = check(&died(tell).live(Lifecycle::Quiet).lines);
        let is_wrong = report.has(Rule::PhantomDeadLetter);
        assert_eq!(is_wrong, !may, "story {number}: {report}");
        assert!(
            report.to_string().contains("(1 killed: 1 of billing, "),
            "{report}"
        );
    }
}

#[test]
fn shutdown_late_is_beyond_deadline_and_grace() {
    let told = |ms: u64| {
        let mut told = story();
        told.live(Lifecycle::Draining { deadline_ms: 50 }).wait(ms);
        told
    };
    let drained = || Lifecycle::Drained {
        abandoned: 1,
        problems: vec!["late".into()],
    };
    told(160).live(drained()).is(&[Rule::ShutdownLate]);
    told(140).live(drained()).is(&[]);
    told(160).killed().is(&[Rule::ShutdownLate]);
}

#[test]
fn rss_over_is_beyond_base_and_buffers() {
    let told = |bytes: u64| {
        let mut told = story();
        told.live(Lifecycle::Ready { rss: 500 })
            .tell(Event::Rss { bytes });
        told
    };
    told(1_501).is(&[Rule::RssOver]);
    told(1_500).is(&[]);
}

#[test]
fn a_history_must_end_in_quiet() {
    story().published(1).handled(1).ends(&[Rule::NotQuiet]);
    let reason = "billing is at 1 of 2".to_owned();
    let report = story()
        .live(Lifecycle::Restless { reason })
        .ends(&[Rule::NotQuiet]);
    assert!(report.to_string().contains("1 of 2"));
}

#[test]
fn an_offset_that_a_power_cut_gave_to_another_message_is_no_violation() {
    let mut told = story_on(Disk::PowerLoss);
    told.published(1).killed();
    told.send_to(TOPIC, "9", 9).ack_at(TOPIC, "9", 1);
    let again = |phase| Handle {
        offset: 1,
        ..handling(9, 9, phase)
    };
    told.tell(Event::Handle(again(Phase::Start)))
        .tell(Event::Handle(again(Phase::Ok)));
    told.committed(Stage::Reported, 2, &[]).is(&[]);
}
