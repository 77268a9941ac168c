//! Messages and news from librdkafka.

use super::KafkaSource;
use super::batching::{Batching, Target};
use super::groups::BEGINNINGS;
use super::inbox::News;
use super::lane::Standing;
use super::plan::Since;
use crate::native::{CHUNK, Message};
use crate::trouble::Fault;
use rdkafka::error::RDKafkaErrorCode as Code;
use tidings_core::{LaneId, RecordBatch};

/// What came instead of a message.
struct Report {
    lane: Option<LaneId>,
    offset: i64,
    fault: Fault,
}

impl KafkaSource {
    /// Takes messages from librdkafka. Whether any came.
    pub(super) fn pump(&mut self) -> bool {
        let mut batches = Vec::new();
        let mut reports = Vec::new();
        let (lanes, pool, max_bytes) = (&self.lanes, &self.pool, self.plan.max_batch_bytes);
        let lane_of = |message: &Message<'_>| {
            let partition = u32::try_from(message.partition()).ok()?;
            lanes.at(message.topic(), partition)
        };
        let taken = self.consumer.consume(|messages| {
            let mut batching = Batching::new(pool, max_bytes);
            let mut rest = messages;
            while let Some(first) = rest.first() {
                if let Some(fault) = first.fault() {
                    reports.push(Report {
                        lane: lane_of(first),
                        offset: first.offset(),
                        fault,
                    });
                    rest = rest.get(1..).unwrap_or_default();
                    continue;
                }
                let (run, after) = rest.split_at(run_length(rest));
                rest = after;
                let Some(id) = lane_of(first) else { continue };
                let lane = lanes.get(id).filter(|lane| lane.standing == Standing::Readable);
                let target = lane.map(|lane| Target {
                    lane: id,
                    epoch: lane.epoch,
                    next: lane.next,
                });
                if let Some(target) = target {
                    batching.add(target, run, &mut batches);
                }
            }
            batching.finish(&mut batches);
        });
        self.keep(batches);
        reports.into_iter().for_each(|report| self.on_report(report));
        self.hold_full(taken);
        taken > 0
    }

    fn keep(&mut self, batches: Vec<RecordBatch>) {
        if !batches.is_empty() {
            self.watch.all_well();
        }
        for batch in batches {
            if let Some(lane) = self.lanes.get_mut(batch.lane()) {
                lane.at_end = false;
                lane.push(batch);
            }
        }
    }

    fn on_report(&mut self, report: Report) {
        match (report.fault.code, report.lane) {
            (Code::PartitionEOF, Some(id)) => self.on_end(id, report.offset),
            (Code::PartitionEOF, None) => {}
            (_, Some(id)) if report.fault.is_out_of_range() => self.ask_bounds(id),
            (Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition, lane)
                if self.plan.group.is_some() =>
            {
                let topic = lane.and_then(|id| self.lanes.get(id));
                let topic = topic.map(|lane| lane.topic.clone());
                self.suspect(topic.as_deref(), &report.fault);
            }
            _ => self.on_fault(&report.fault),
        }
    }

    /// A partition was read to its end, which may lie beyond its last message: the marks of transactions take offsets.
    fn on_end(&mut self, id: LaneId, offset: i64) {
        self.watch.all_well();
        let Some(lane) = self.lanes.get_mut(id) else {
            return;
        };
        let Some(offset) = u64::try_from(offset).ok().filter(|at| *at >= lane.next) else {
            // Messages came after it.
            return;
        };
        if offset > lane.next && lane.standing == Standing::Readable {
            let empty = RecordBatch::new(id, lane.epoch, bytes::Bytes::new(), Vec::new(), offset);
            lane.push(empty);
        }
        lane.at_end = true;
    }

    /// Follows what callbacks and other threads have told.
    pub(super) fn follow(&mut self) {
        self.consumer.serve_replies();
        while let Some(news) = self.consumer.inbox().next() {
            self.on_news(news);
        }
        for fault in self.consumer.inbox().faults() {
            self.on_fault(&fault);
        }
    }

    fn on_news(&mut self, news: News) {
        match news {
            News::Assigned(places) => self.on_assigned(&places, Since::Begin),
            News::Revoked { places, lost } => self.on_revoked(&places, lost),
            News::Stored { number, fault } if number == BEGINNINGS => self.on_begun(fault),
            News::Stored { number, fault } => {
                if let Some(fault) = fault
                    .as_ref()
                    .filter(|fault| fault.code == Code::UnknownTopicOrPartition)
                {
                    self.suspect(None, fault);
                }
                if self.commits.answered(number, fault, &mut self.lanes) {
                    self.watch.all_well();
                }
            }
            News::Looked { ticket, positions } => self.on_looked(ticket, positions),
            News::Bounds {
                topic,
                partition,
                bounds,
            } => self.on_bounds(&topic, partition, bounds),
            News::Grown(places) => self.on_grown(places),
            News::Transaction { ticket, outcome } => self.on_outcome(ticket, outcome),
            News::Seen(seen) => self.on_seen(seen),
        }
    }

    fn on_grown(&mut self, mut places: Vec<(String, u32)>) {
        self.tell_of_absent(&places);
        places.retain(|(topic, partition)| {
            self.lanes.at(topic, *partition).is_none()
                && self.plan.reads(topic)
                && self.plan.is_chosen(*partition)
        });
        if places.is_empty() && self.settled {
            return;
        }
        if self.opening.is_some() {
            self.look_for_growth_soon();
            return;
        }
        // Partitions that are there from the start begin where the subscription says; others are new as a whole.
        let since = match self.settled {
            true => Since::Growth,
            false => Since::Begin,
        };
        self.on_assigned(&places, since);
    }
}

/// How many messages from the first on are of its partition.
fn run_length(messages: &[Message<'_>]) -> usize {
    let of = |message: &Message<'_>| (message.topic_number(), message.partition());
    let same = |message: &&Message<'_>| {
        !message.is_report() && messages.first().is_some_and(|first| of(first) == of(message))
    };
    debug_assert!(messages.len() <= CHUNK);
    messages
        .iter()
        .take_while(same)
        .count()
        .max(1)
        .min(messages.len())
}
