//! Random use against a simple model: lists of payloads and a number for each partition.

use crate::support::*;
use proptest::prelude::*;
use std::path::Path;
use tidings_core::{Assignment, Binder, Source, SourceEvent};
use tidings_embedded::{EmbeddedBroker, EmbeddedSource, Fsync};

const PARTITIONS: u32 = 2;

#[derive(Debug, Clone)]
enum Step {
    Publish { partition: u32, count: usize },
    PublishAll { count: usize },
    Read,
    Finish { partition: u32, part: u8 },
    Commit,
    Reopen,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..PARTITIONS, 1usize..5).prop_map(|(partition, count)| Step::Publish { partition, count }),
        2 => (1usize..30).prop_map(|count| Step::PublishAll { count }),
        6 => Just(Step::Read),
        4 => (0..PARTITIONS, any::<u8>()).prop_map(|(partition, part)| Step::Finish { partition, part }),
        2 => Just(Step::Commit),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..40)
}

/// What should be in one partition.
#[derive(Debug, Default, Clone)]
struct Model {
    published: Vec<String>,
    read: u64,
    reported: u64,
    /// What is certainly stored.
    committed: u64,
}

struct World {
    broker: EmbeddedBroker,
    source: EmbeddedSource,
    lanes: Vec<Assignment>,
    model: Vec<Model>,
    number: u64,
}

impl World {
    async fn open(directory: &Path, fsync: Fsync, model: Vec<Model>, number: u64) -> Self {
        let broker = EmbeddedBroker::open(options(directory).fsync(fsync).segment_bytes(2048)).unwrap();
        prepare(&broker, "orders", PARTITIONS).await;
        let mut source = join(&broker, "billing", "orders").await;
        let lanes = assigned(&mut source).await;
        let mut world = Self {
            broker,
            source,
            lanes,
            model,
            number,
        };
        world.begin();
        world
    }

    /// The group goes on between what was certainly stored and what was reported.
    fn begin(&mut self) {
        for (lane, model) in self.lanes.iter().zip(&mut self.model) {
            assert!(
                (model.committed..=model.reported).contains(&lane.next),
                "{lane:?} {model:?}"
            );
            assert_eq!(lane.end, model.published.len() as u64);
            (model.read, model.reported, model.committed) = (lane.next, lane.next, lane.next);
        }
    }

    fn payload(&mut self) -> String {
        self.number += 1;
        format!("{}:{}", self.number, "x".repeat(self.number as usize * 37 % 300))
    }

    async fn publish(&mut self, partition: u32) {
        let payload = self.payload();
        let model = &mut self.model[partition as usize];
        let position = publish(&self.broker, "orders", partition, payload.clone())
            .await
            .unwrap();
        assert_eq!(position.offset(), model.published.len() as u64);
        model.published.push(payload);
    }

    async fn publish_all(&mut self, count: usize) {
        let mut all = Vec::new();
        for number in 0..count {
            let payload = self.payload();
            let partition = number % PARTITIONS as usize;
            self.model[partition].published.push(payload.clone());
            all.push(to("orders", partition as u32, payload));
        }
        for receipt in self.broker.sink().publish_all(all) {
            receipt.await.unwrap();
        }
    }

    async fn read(&mut self) {
        if let SourceEvent::Batch(batch) = next(&mut self.source).await.unwrap() {
            let model = &mut self.model[batch.lane().0 as usize];
            assert_eq!(batch.records()[0].offset, model.read);
            let expected = &model.published[model.read as usize..batch.next() as usize];
            assert_eq!(texts(&batch), expected);
            model.read = batch.next();
        }
    }

    fn has_unread(&self) -> bool {
        self.model
            .iter()
            .any(|model| model.read < model.published.len() as u64)
    }

    fn finish(&mut self, partition: u32, part: u8) {
        let (lane, model) = (
            &self.lanes[partition as usize],
            &mut self.model[partition as usize],
        );
        let to = model.reported + (model.read - model.reported) * u64::from(part) / 255;
        done(&mut self.source, lane.lane, lane.epoch, to);
        model.reported = to;
    }

    async fn commit(&mut self) {
        self.source.commit().await.unwrap();
        for (stored, model) in stored(&self.broker, "orders", "billing")
            .await
            .into_iter()
            .zip(&mut self.model)
        {
            assert_eq!(stored, Some(model.reported));
            model.committed = model.reported;
        }
    }
}

async fn run(steps: Vec<Step>, fsync: Fsync) {
    let root = tempfile::tempdir().unwrap();
    let mut directory = root.path().join("0");
    let mut world = World::open(&directory, fsync, vec![Model::default(); PARTITIONS as usize], 0).await;
    for (number, step) in (1..).zip(steps) {
        match step {
            Step::Publish { partition, count } => {
                for _ in 0..count {
                    world.publish(partition).await;
                }
            }
            Step::PublishAll { count } => world.publish_all(count).await,
            Step::Read if world.has_unread() => world.read().await,
            Step::Read => {}
            Step::Finish { partition, part } => world.finish(partition, part),
            Step::Commit => world.commit().await,
            Step::Reopen => {
                world.source.close().await.unwrap();
                world.broker.close().await.unwrap();
                for model in &mut world.model {
                    model.committed = model.reported;
                }
                world = World::open(&directory, fsync, world.model, world.number).await;
            }
            Step::Crash => {
                let killed = root.path().join(number.to_string());
                // A group's first position is stored in the background: wait, so that the copy is of one moment.
                world.commit().await;
                copy(&directory, &killed);
                directory = killed;
                world = World::open(&directory, fsync, world.model, world.number).await;
            }
        }
    }
    world.source.close().await.unwrap();
    world.broker.close().await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_use_does_what_a_list_would(steps in steps(), always: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let fsync = if always { Fsync::Always } else { Fsync::default() };
        runtime.block_on(run(steps, fsync));
    }
}
