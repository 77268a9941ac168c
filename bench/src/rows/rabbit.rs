//! W16: publish and consume on RabbitMQ, beside lapin by hand and beside Spring AMQP.
//!
//! Each run has a queue of its own, which is taken away after it.

use crate::apart::job::{Arm, Job, Outcome, RabbitArm, Work};
use crate::apart::peers::{Peer, amqp, peers};
use crate::error::BenchError;
use crate::measure::Sample;
use crate::pairs::Pairs;
use crate::rabbit::server::{Server, server};
use crate::report::Line;
use crate::rows::lines::{cost, speed};
use crate::rows::{Setting, agree};
use crate::verdict::Target;

const MESSAGES: u64 = 200_000;
const JOINED: &str = "lapin by hand, joined by 50";
const FIFTY: &str = "lapin by hand, everything acknowledged every 50";

/// One run of each arm is made on a queue of its own.
struct Bench {
    server: &'static Server,
    total: u64,
    rounds: usize,
}

impl Bench {
    fn new(setting: &Setting<'_>) -> Result<Self, BenchError> {
        Ok(Self {
            server: server()?,
            total: setting.length.messages(MESSAGES),
            rounds: setting.length.rounds(),
        })
    }

    fn job(&self, arm: RabbitArm, work: Work) -> Job {
        Job {
            work,
            ..self.server.job(arm, self.total)
        }
    }

    /// Into a queue that is there and empty; with so many keys, of which none is that messages have no key.
    fn publish(&self, arm: RabbitArm, keys: u64) -> Result<Sample, BenchError> {
        let job = Job {
            keys,
            ..self.job(arm, Work::Order)
        };
        self.server.make(&job)?;
        self.then_forget(&job, job.run())
    }

    /// From a queue that our driver has made and filled.
    fn consume(&self, arm: RabbitArm, work: Work) -> Result<Sample, BenchError> {
        let job = self.job(arm, work);
        let filled = job.with(Arm::Rabbit(RabbitArm::Fill)).run()?;
        let outcome = job.run();
        if let (Ok(outcome), Work::Order) = (&outcome, work) {
            agree(&format!("{arm:?}"), outcome.checksum, filled.checksum)?;
        }
        self.then_forget(&job, outcome)
    }

    fn then_forget(&self, job: &Job, outcome: Result<Outcome, BenchError>) -> Result<Sample, BenchError> {
        self.server.forget(job)?;
        outcome.map(|outcome| outcome.sample())
    }

    fn publishing(&self, ours: RabbitArm, by_hand: RabbitArm, keys: u64) -> Result<Pairs, BenchError> {
        Pairs::of_processes(
            self.rounds,
            || self.publish(ours, keys),
            || self.publish(by_hand, keys),
        )
    }

    fn consuming(&self, ours: RabbitArm, by_hand: RabbitArm, work: Work) -> Result<Pairs, BenchError> {
        Pairs::of_processes(
            self.rounds,
            || self.consume(ours, work),
            || self.consume(by_hand, work),
        )
    }

    /// Spring's queue has no arguments, because Spring declares it so; its messages come from lapin by hand.
    fn peer(&self, peer: Peer, fill: bool) -> Result<Sample, BenchError> {
        let job = self.job(RabbitArm::PublishJoined, Work::Order);
        self.server.make(&job)?;
        if fill {
            job.run()?;
        }
        let peers = peers().map_err(BenchError::part("other libraries"))?;
        let outcome = peers.run(
            peer,
            &Job {
                topic: crate::rabbit::queue(&job),
                servers: self.server.address(),
                ..job.clone()
            },
        );
        self.then_forget(&job, outcome)
    }
}

/// W16: beside loops by hand.
pub(super) fn by_hand(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    let bench = Bench::new(setting)?;
    let mut lines = Vec::new();
    let most = Target::AtMost(1.10);
    for (ours, what, keys, target) in [
        (
            RabbitArm::ReceiptBatches,
            "publish, a receipt each, 500 a call",
            0,
            most,
        ),
        (RabbitArm::Receipts, "publish, a receipt each", 0, most),
        (
            RabbitArm::Receipts,
            "publish with keys, which are a header, a receipt each",
            1,
            most,
        ),
        (
            RabbitArm::Publisher,
            "publish, an app's publisher: with id, correlation and trace",
            0,
            Target::None,
        ),
    ] {
        let pairs = bench.publishing(ours, RabbitArm::PublishJoined, keys)?;
        lines.push(cost(what, JOINED, &pairs, target));
    }
    let pairs = bench.publishing(RabbitArm::Receipts, RabbitArm::PublishEach, 0)?;
    lines.push(cost(
        "publish, a receipt each",
        "lapin by hand, one at a time",
        &pairs,
        Target::AtMost(1.0),
    ));
    for (work, said) in [
        (Work::Order, "consume, decode, handle, acknowledge"),
        (Work::Raw, "consume, handle raw bytes, acknowledge"),
    ] {
        let target = if work == Work::Order { most } else { Target::None };
        let pairs = bench.consuming(RabbitArm::App, RabbitArm::AckFifty, work)?;
        lines.push(cost(said, FIFTY, &pairs, target));
        let pairs = bench.consuming(RabbitArm::Source, RabbitArm::AckFifty, work)?;
        lines.push(cost(
            &format!("{said}: the driver without the engine"),
            FIFTY,
            &pairs,
            Target::None,
        ));
    }
    let pairs = bench.consuming(RabbitArm::App, RabbitArm::AckEach, Work::Order)?;
    lines.push(cost(
        "consume, decode, handle, acknowledge",
        "lapin by hand, each acknowledged",
        &pairs,
        Target::AtMost(1.0),
    ));
    Ok(lines)
}

/// W16 beside Spring AMQP.
pub(super) fn java(setting: &Setting<'_>) -> Result<Vec<Line>, BenchError> {
    peers().map_err(BenchError::part("other libraries"))?;
    let bench = Bench::new(setting)?;
    let mut lines = Vec::new();
    for (name, how, setting) in [
        (
            "Spring AMQP, simple container",
            "consume",
            "spring.rabbitmq.listener.type=simple",
        ),
        (
            "Spring AMQP, direct container",
            "consume",
            "spring.rabbitmq.listener.type=direct",
        ),
    ] {
        let peer = amqp(name, "W16-consume", how, setting);
        let pairs = Pairs::of_processes(
            bench.rounds,
            || bench.consume(RabbitArm::App, Work::Order),
            || bench.peer(peer, true),
        )?;
        lines.push(speed(
            "consume, decode, handle, acknowledge",
            name,
            &pairs,
            Target::AtLeast(1.4),
        ));
    }
    for (name, how, setting) in [
        (
            "Spring AMQP, confirms by callback",
            "publish",
            "spring.rabbitmq.cache.channel.size=1000",
        ),
        (
            "Spring AMQP, a wait for 1,000 confirms",
            "invoke",
            "spring.rabbitmq.publisher-confirm-type=simple",
        ),
    ] {
        let peer = amqp(name, "W16-publish", how, setting);
        let pairs = Pairs::of_processes(
            bench.rounds,
            || bench.publish(RabbitArm::Receipts, 0),
            || bench.peer(peer, false),
        )?;
        lines.push(speed(
            "publish, a receipt each",
            name,
            &pairs,
            Target::AtLeast(1.0),
        ));
    }
    Ok(lines)
}
