//! What a source reads changes while it reads: the topics that match a pattern.

use super::KafkaSource;
use tidings_core::{LaneId, SourceError, SourceEvent, SourceInput};
use tokio::time::Instant;

impl KafkaSource {
    /// Reads these and nothing else from now on.
    pub(super) fn read_these(&mut self, inputs: &[SourceInput]) -> Result<(), SourceError> {
        if let Some(group) = self.plan.group.clone() {
            // Librdkafka goes on with what stays, and joins anew with the rest.
            let topics = inputs.iter().map(|input| &*input.destination);
            let told = self.consumer.subscribe(topics);
            told.map_err(|fault| fault.unavailable())?;
            self.plan.change(inputs);
            self.shared.retries.are_read(&group, self.plan.retry_topics());
            // What is no longer read comes back as any other partition that is revoked.
            self.settled = self.plan.reads_nothing();
            self.plan.settles_anew();
        } else {
            self.plan.change(inputs);
            self.let_go_of_others();
            self.plan.grows_at = Some(Instant::now());
            self.look_for_growth();
        }
        self.forget_others();
        self.idle_told = false;
        Ok(())
    }

    /// Without a group nobody else takes what is no longer read.
    fn let_go_of_others(&mut self) {
        let others = self
            .lanes
            .iter()
            .filter(|(_, lane)| !self.plan.reads(&lane.topic));
        let others: Vec<LaneId> = others.map(|(id, _)| id).collect();
        if !others.is_empty() {
            self.give_back(&others);
            self.events.push_back(SourceEvent::Lost(others));
        }
    }
}
