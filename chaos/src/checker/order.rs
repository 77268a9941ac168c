//! Messages of one key: [`Order`].

use super::knowledge::Knowledge;
use super::report::{Report, Rule};
use crate::history::{Event, Handle, Line, Phase};
use std::collections::HashMap;

/// Group, destination, key.
type Queue = (String, String, String);

/// Judges the order of first successful handlings, and that handlings of a key do not overlap.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The last sequence that was handled for the first time.
    last: HashMap<Queue, (u64, String)>,
    running: HashMap<Queue, Running>,
}

/// A call that works on a key. The messages of a batch share one call.
#[derive(Debug)]
struct Running {
    incarnation: u32,
    call: u64,
    open: u32,
    id: String,
}

impl Order {
    pub(super) fn observe(&mut self, line: &Line, known: &Knowledge, report: &mut Report) {
        let Event::Handle(handle) = &line.event else {
            return;
        };
        let queue = (handle.group.clone(), handle.topic.clone(), handle.key.clone());
        match handle.phase {
            Phase::Start => self.begin(line, handle, queue, report),
            Phase::Ok => {
                self.end(handle, &queue);
                if !known.is_handled(&handle.group, &handle.id) {
                    self.judge_first(line, handle, queue, report);
                }
            }
            Phase::Transient | Phase::Permanent | Phase::Dropped => self.end(handle, &queue),
        }
    }

    fn begin(&mut self, line: &Line, handle: &Handle, queue: Queue, report: &mut Report) {
        let fresh = Running {
            incarnation: line.n,
            call: handle.call,
            open: 1,
            id: handle.id.clone(),
        };
        // What ran when a process was killed has ended with it.
        match self
            .running
            .get_mut(&queue)
            .filter(|running| running.incarnation == line.n)
        {
            Some(running) if running.call == handle.call => running.open += 1,
            Some(running) => {
                let (group, key, id) = (&handle.group, &handle.key, &handle.id);
                let what = format!("{group} began {id} of {key} while {} ran", running.id);
                report.add(Rule::KeyOverlap, line.n, what);
                *running = fresh;
            }
            None => drop(self.running.insert(queue, fresh)),
        }
    }

    fn end(&mut self, handle: &Handle, queue: &Queue) {
        let Some(running) = self
            .running
            .get_mut(queue)
            .filter(|running| running.call == handle.call)
        else {
            return;
        };
        running.open = running.open.saturating_sub(1);
        if running.open == 0 {
            self.running.remove(queue);
        }
    }

    fn judge_first(&mut self, line: &Line, handle: &Handle, queue: Queue, report: &mut Report) {
        if let Some((last, id)) = self.last.get(&queue).filter(|(last, _)| *last > handle.sequence) {
            let what = format!(
                "{} handled {} of {} (sequence {}) after {id} (sequence {last})",
                handle.group, handle.id, handle.key, handle.sequence
            );
            return report.add(Rule::KeyReorder, line.n, what);
        }
        self.last.insert(queue, (handle.sequence, handle.id.clone()));
    }
}
